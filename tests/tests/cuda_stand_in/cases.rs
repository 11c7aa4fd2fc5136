//! One configuration of each family and kind of model, a few steps each: the same as on the CPU,
//! and counted.

use crate::data_files;
use crate::machine::{Cuda, arguments, cuda, on_cpu};
use crate::table::{Count, Row, Table};
use isotropy_tests::end_to_end::{Scratch, metrics};
use serde_json::Value;
use std::path::Path;
use tch::Tensor;

/// A short run, and what is made longer in it to count what a step takes.
pub struct Case {
    /// The row of the table.
    pub name: &'static str,
    configuration: &'static str,
    set: &'static [&'static str],
    /// Whether the configuration's own metrics are compared as well; where steps are counted there
    /// are none.
    metrics: bool,
    /// Two numbers of training steps.
    training: Option<(i64, i64)>,
    /// Where the number of the sampler's steps stands, and two of them.
    sampling: Option<(&'static str, i64, i64)>,
    /// How far samples, and the weights after a step, may be from those of the CPU. The kernels
    /// that run are the CPU's, so 0 but for networks that have another layer there (the group norm
    /// of U-Nets) or work on tensors of another shape (edges).
    rounding: f64,
}

impl Case {
    /// The configuration at its own size, without metrics and plots.
    pub fn configured(&self) -> Vec<String> {
        let mut set = vec!["evaluate.metrics=[]"];
        // What makes it another experiment, or fits it to the files of the test.
        let of_experiment =
            |value: &&&str| !value.starts_with("train.batch=") && !value.starts_with("sampling.");
        set.extend(self.set.iter().filter(of_experiment));
        arguments(self.configuration, &set)
    }

    /// Whether anything is trained.
    pub fn is_trained(&self) -> bool {
        self.training.is_some()
    }

    /// Where the number of the sampler's steps stands.
    pub fn sampler_steps(&self) -> Option<&'static str> {
        self.sampling.map(|(path, _, _)| path)
    }
}

/// All cases.
pub fn every_case() -> Vec<Case> {
    toys().into_iter().chain(fields()).chain(pictures()).collect()
}

const FEW: &[&str] = &["sampling.count=100", "evaluate.reference=100"];
const TWO: &[&str] =
    &["train.batch=2", "sampling.count=2", "sampling.batch=2", "sampling.trajectory=0"];
/// The files of the test are smaller than those that a configuration is for.
const PAIRS: &[&str] = &[
    "train.batch=2",
    "sampling.count=2",
    "sampling.batch=2",
    "sampling.trajectory=0",
    "dataset.inner.count=200",
    "dataset.inner.validation=20",
    "dataset.inner.test=20",
];
const FIELD: &[&str] = &[
    "train.batch=2",
    "sampling.count=2",
    "sampling.repeats=1",
    "sampling.batch=2",
    "sampler.inner_steps=1",
];

fn toys() -> Vec<Case> {
    let toy = |name, configuration, set, training, sampling| Case {
        name,
        configuration,
        set,
        metrics: true,
        training,
        sampling,
        rounding: 0.0,
    };
    const ALONE: &[&str] = &["train.batches_at_once=1", "sampling.count=10"];
    let process = Some(("process.steps", 4, 12));
    let sampler = Some(("sampler.steps", 4, 12));
    vec![
        toy("mixture-2d", "mixture-2d", FEW, Some((32, 96)), process),
        toy("mixture-2d, one batch at once", "mixture-2d", ALONE, Some((2, 6)), None),
        toy("mixture-4d", "mixture-4d", FEW, Some((32, 96)), process),
        toy("torus-brownian", "torus-brownian", FEW, Some((32, 96)), sampler),
        toy("moebius-fisher", "moebius-fisher", FEW, Some((32, 96)), process),
    ]
}

fn fields() -> Vec<Case> {
    let field = |name, training: bool, set| Case {
        name,
        configuration: name,
        set,
        metrics: false,
        training: training.then_some((1, 3)),
        sampling: Some(("sampler.steps", 2, 4)),
        rounding: 0.0,
    };
    // On a device products have a row for each place of an edge, on the CPU for each edge.
    let on_edges = |case: Case| Case { rounding: 1e-3, ..case };
    const EGNN: &[&str] = &[
        r#"model={"type": "egnn", "layers": 2, "width": 16, "neighbours": 6}"#,
        "train.batch=2",
        "sampling.count=2",
        "sampling.repeats=1",
        "sampling.batch=2",
        "sampler.inner_steps=1",
    ];
    const WINDS: &[&str] =
        &["train.batch=2", "sampling.count=2", "sampling.repeats=1", "sampling.batch=2"];
    vec![
        field("se", true, FIELD),
        on_edges(field("fields-divergence-free", true, FIELD)),
        field("fields-se-plain", true, FIELD),
        field("oracle-se", false, &FIELD[1..]),
        on_edges(Case { name: "egnn", ..field("fields-se-plain", true, EGNN) }),
        on_edges(field("winds-conditioned", true, WINDS)),
    ]
}

fn pictures() -> Vec<Case> {
    let picture = |name, set, training, sampling, rounding| Case {
        name,
        configuration: name,
        set,
        metrics: false,
        training,
        sampling,
        rounding,
    };
    let sampler = Some(("sampler.steps", 2, 4));
    let steps = Some((1, 3));
    vec![
        picture("toy-l", TWO, steps, sampler, 1e-3),
        picture("turned-mnist-regularised", TWO, steps, sampler, 1e-3),
        picture("histology-edm", TWO, steps, sampler, 1e-3),
        picture("denoise-digits", PAIRS, steps, sampler, 1e-3),
        picture("denoise-digits-averaged", PAIRS, steps, None, 1e-3),
        picture("brownian-edges-digits", PAIRS, steps, Some(("process.steps", 3, 5)), 1e-3),
        picture("continuous-groups", &PAIRS[1..], None, sampler, 0.0),
        picture("rotated-digits", TWO, steps, sampler, 0.0),
        picture("moved-digits-space", TWO, steps, sampler, 0.0),
        picture("classifier", &TWO[..1], steps, None, 0.0),
    ]
}

#[test]
fn toys_give_the_same_as_on_the_cpu_and_wait_no_more_than_written() {
    all("toys", toys());
}

#[test]
fn fields_give_the_same_as_on_the_cpu_and_wait_no_more_than_written() {
    all("fields", fields());
}

#[test]
fn pictures_give_the_same_as_on_the_cpu_and_wait_no_more_than_written() {
    all("pictures", pictures());
}

#[test]
fn a_matrix_that_is_not_positive_definite_ends_the_run_as_on_the_cpu() {
    let Some(cuda) = cuda("errors that the device knows first") else { return };
    let scratch = Scratch::new("cuda-late");
    let set = [
        FIELD,
        &["dataset.kernel.lengthscale=1e6", "dataset.noise_variance=1e-300", "train.steps=3"],
    ];
    let arguments = arguments("fields-se-plain", &set.concat());
    let host = on_cpu(&scratch, "cpu", &arguments).with_code(4);
    let device = cuda.run(&scratch, "cuda", &arguments, &[]).ended.with_code(4);
    for ended in [host, device] {
        assert!(ended.stderr.contains("is not positive definite with jitter"), "{}", ended.stderr);
        assert!(ended.stderr.contains("add white noise"), "{}", ended.stderr);
    }
}

fn all(name: &str, cases: Vec<Case>) {
    let Some(cuda) = cuda("runs on CUDA") else { return };
    let scratch = Scratch::new(&format!("cuda-{name}"));
    data_files::files(&scratch.join("data"));
    let rows: Vec<Row> = cases.iter().filter_map(|case| one(&cuda, &scratch, case)).collect();
    Table::check(&rows);
}

/// Compares one case with the CPU, and counts what its steps take; none on a GPU.
fn one(cuda: &Cuda, scratch: &Scratch, case: &Case) -> Option<Row> {
    let path = case.sampling.map_or("", |(path, _, _)| path);
    let arguments = |training: Option<i64>, sampling: Option<i64>, metrics: bool| {
        let length = |steps: Option<i64>, path: &str| steps.map(|steps| format!("{path}={steps}"));
        let none = (!metrics).then(|| "evaluate.metrics=[]".to_string());
        let more = [length(training, "train.steps"), length(sampling, path), none];
        let more: Vec<&str> = more.iter().flatten().map(String::as_str).collect();
        arguments(case.configuration, &[case.set, &more].concat())
    };
    let name = |what: &str| format!("{}-{what}", case.name.replace([' ', ','], "-"));
    let counted = |what: &str, arguments: &[String]| {
        let ran = cuda.run(scratch, &name(what), arguments, &[]);
        ran.ended.with_code(0);
        ran.counts
    };
    let (training, sampling) = (case.training.map(|t| t.0), case.sampling.map(|s| s.1));
    let compared = arguments(training, sampling, case.metrics);
    on_cpu(scratch, &name("cpu"), &compared).with_code(0);
    let counts = counted("cuda", &compared);
    // The kernels of a GPU are other ones.
    let rounding = if *cuda == Cuda::Gpu { case.rounding.max(1e-3) } else { case.rounding };
    same(case.name, &scratch.join(&name("cpu")), &scratch.join(&name("cuda")), rounding);
    let mut counts = counts?;
    if case.metrics {
        counts = counted("alone", &arguments(training, sampling, false))?;
    }
    let more = |what: &str, arguments: Vec<String>, steps: i64| {
        let longer = counted(what, &arguments).expect("the stand-in counts");
        Count::between(&counts, &longer, steps)
    };
    Some(Row {
        name: case.name.to_string(),
        training: case.training.map(|(short, long)| {
            more("longer", arguments(Some(long), sampling, false), long - short)
        }),
        sampling: case.sampling.map(|(_, short, long)| {
            more("finer", arguments(training, Some(long), false), long - short)
        }),
    })
}

/// Fails where two runs differ by more than `rounding` times the largest number of a tensor.
pub fn same(case: &str, host: &Path, device: &Path, rounding: f64) {
    let mut tensors = Vec::new();
    for run in [host, device] {
        let mut all = Vec::new();
        if run.join("weights.safetensors").exists() {
            all.extend(Tensor::read_safetensors(run.join("weights.safetensors")).unwrap());
        }
        if run.join("samples/samples.npz").exists() {
            all.extend(Tensor::read_npz(run.join("samples/samples.npz")).unwrap());
        }
        all.sort_by(|a, b| a.0.cmp(&b.0));
        tensors.push(all);
    }
    assert_eq!(tensors[0].len(), tensors[1].len(), "{case}");
    for ((name, host), (other, device)) in tensors[0].iter().zip(&tensors[1]) {
        assert_eq!(
            (name, host.size(), host.kind()),
            (other, device.size(), device.kind()),
            "{case}"
        );
        if rounding == 0.0 {
            assert!(host.equal(device), "{case}: {name} differs from the CPU's");
        } else if host.numel() > 0 {
            let gap = (host - device).abs().max().double_value(&[]);
            let size = host.abs().max().double_value(&[]).max(1e-2);
            assert!(gap <= rounding * size, "{case}: {name} differs by {gap} of {size}");
        }
    }
    close(case, "", &metrics(host), &metrics(device), rounding.max(1e-9));
}

fn close(case: &str, place: &str, host: &Value, device: &Value, rounding: f64) {
    match (host, device) {
        (Value::Object(a), Value::Object(b)) => {
            assert_eq!(a.len(), b.len(), "{case}: {place}");
            for (name, value) in a.iter().filter(|(name, _)| *name != "equivariance_error") {
                close(case, &format!("{place}/{name}"), value, &b[name], rounding);
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            for (value, other) in a.iter().zip(b) {
                close(case, place, value, other, rounding);
            }
        }
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            let gap = (a - b).abs();
            assert!(
                gap <= rounding * a.abs().max(1e-2),
                "{case}: {place} is {a} on the CPU and {b} on CUDA"
            );
        }
        _ => assert!(
            host == device || place.ends_with("/device"),
            "{case}: {place}: {host} and {device}"
        ),
    }
}
