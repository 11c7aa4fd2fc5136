//! Examples of groups, representations, kernels and data sets on the device: they build, and what
//! they give lies there.

use crate::data_files;
use crate::machine::cuda;
use crate::operations::{DEVICE, child, opened};
use isotropy_core::{
    Component, CovarianceKernelConfig, DatasetConfig, GroupConfig, LoadContext,
    RepresentationConfig, Split, State, Streams, Xi, inventory,
};
use isotropy_tests::end_to_end::Scratch;
use std::path::PathBuf;
use tch::{Kind, Tensor};

const OPTIONS: (Kind, tch::Device) = (Kind::Float, DEVICE);
/// The folder of the files that data sets read.
const DATA: &str = "ISOTROPY_CUDA_TEST_DATA";

fn of_kind(kind: &str) -> Vec<&'static Component> {
    let mut found: Vec<&Component> =
        inventory::iter::<Component>().filter(|component| component.kind == kind).collect();
    found.sort_by_key(|component| component.name);
    assert!(!found.is_empty(), "{kind}");
    found
}

#[track_caller]
fn there(what: &str, tensors: &[Tensor]) {
    for tensor in tensors {
        assert_eq!(tensor.device(), DEVICE, "{what}");
        if tensor.is_floating_point() {
            // Memory that nobody has written to holds NaN.
            assert!(!bool::try_from(tensor.isnan().any()).unwrap(), "{what} holds NaN");
        }
    }
}

fn state_there(what: &str, state: &State) {
    let all = state.lift.iter().chain(&state.context).map(|(_, field)| &field.tensor);
    for tensor in std::iter::once(state.x()).chain(all) {
        assert_eq!(tensor.device(), DEVICE, "{what}");
    }
}

fn groups(streams: &Streams) -> usize {
    for component in of_kind("group") {
        let group: Box<dyn GroupConfig> = serde_json::from_str(component.example).unwrap();
        let group = group.build().unwrap();
        let shape = group.xi_shape(&[5]).or_else(|| group.example_shape(5)).expect(component.name);
        let mut stream = streams.stream(component.name, 0);
        let (a, b) = (
            group.sample(&shape, OPTIONS, &mut stream),
            group.sample(&shape, OPTIONS, &mut stream),
        );
        let product = group.compose(&group.inverse(&a), &b);
        there(component.name, &product.0);
        there(component.name, &group.identity(&shape, OPTIONS).0);
        there(component.name, &[group.distance(&a, &b)]);
        if let Some(lie) = group.lie() {
            let small = shape.iter().map(|shape| stream.normal(shape, OPTIONS) * 0.1).collect();
            let xi = Xi(small);
            let g = lie.exp(&xi);
            there(component.name, &g.0);
            there(component.name, &lie.log(&g).unwrap().0);
            there(component.name, &lie.bracket(&xi, &xi).0);
            there(component.name, &lie.adjoint(&g, &xi).0);
        }
    }
    of_kind("group").len()
}

fn representations(streams: &Streams) -> usize {
    let mut moved = 0;
    for component in of_kind("representation") {
        let config: Box<dyn RepresentationConfig> =
            serde_json::from_str(component.example).unwrap();
        let representation = config.build().unwrap();
        let mut stream = streams.stream(component.name, 0);
        let Some(state) = representation.sample_state(5, OPTIONS, &mut stream) else { continue };
        moved += 1;
        let name = component.name;
        let shape = representation.element_shape(&state).unwrap();
        let g = representation.group().sample(&shape, OPTIONS, &mut stream);
        state_there(name, &representation.act(&g, &state).unwrap());
        let Some(drive) = representation.drive() else { continue };
        let state = drive.lift(state).unwrap();
        let shapes = drive.xi_shape(&state.spec());
        let batched = |shape: &Vec<i64>| [&[5], shape.as_slice()].concat();
        let xi = Xi(shapes.iter().map(|s| stream.normal(&batched(s), OPTIONS) * 0.1).collect());
        state_there(name, &drive.flow(&state, &xi));
        let tangent = drive.push(&state, &xi);
        there(name, &drive.pull(&state, &tangent).0);
        there(name, &drive.divergences(&state).0);
        there(name, &drive.horizontal(&state, &xi).0);
        there(name, &[tangent, drive.ito(&state, &vec![0.1; shapes.len()])]);
        if let Some(coordinates) = drive.coordinates() {
            let tau = coordinates.tau(&state);
            state_there(name, &coordinates.point(&state, &tau));
            there(name, &tau.0);
            there(name, &[coordinates.log_abs_det(&state), coordinates.regularity(&state)]);
        }
    }
    moved
}

fn kernels(streams: &Streams) -> usize {
    for component in of_kind("kernel") {
        let config: Box<dyn CovarianceKernelConfig> =
            serde_json::from_str(component.example).unwrap();
        let kernel = config.build().unwrap();
        let dimension = (1..4).find(|dimension| kernel.accepts(*dimension).is_ok()).unwrap();
        let mut stream = streams.stream(component.name, 0);
        let index = stream.normal(&[2, 6, dimension], (Kind::Double, DEVICE));
        there(component.name, &[kernel.gram_at(&kernel.values(), &index).tensor().copy()]);
    }
    of_kind("kernel").len()
}

fn data_sets(streams: &Streams) -> usize {
    let data_dir = PathBuf::from(std::env::var_os(DATA).expect("the parent sets it"));
    let context =
        LoadContext { data_dir, kind: Kind::Float, device: DEVICE, streams: streams.clone() };
    for component in of_kind("dataset") {
        let config: Box<dyn DatasetConfig> = serde_json::from_str(component.example).unwrap();
        let data = config.load(&context).unwrap_or_else(|e| panic!("{}: {e}", component.name));
        for split in [Split::Train, Split::Validation, Split::Test] {
            let batch = data.batch(split, 0, 2, streams).unwrap();
            state_there(component.name, &batch);
        }
    }
    of_kind("dataset").len()
}

#[test]
#[ignore = "a process that another test starts"]
fn child_components() {
    opened();
    let _no_grad = tch::no_grad_guard();
    let streams = Streams::new(3);
    let counts =
        [groups(&streams), representations(&streams), kernels(&streams), data_sets(&streams)];
    println!("{counts:?} groups, representations, kernels and data sets");
}

#[test]
fn examples_of_components_work_on_the_device() {
    let Some(cuda) = cuda("examples of components on CUDA") else { return };
    let scratch = Scratch::new("cuda-components");
    let data = scratch.join("data");
    data_files::files(&data);
    let ended = child(&cuda, "components::child_components", &[(DATA, data.to_str().unwrap())]);
    println!("{}", ended.stdout);
}
