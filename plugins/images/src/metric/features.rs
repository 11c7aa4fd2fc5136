//! Features that images are compared in: those of a classifier of this project, or of a TorchScript file.

use isotropy_core::{Error, Evaluation, Field, Moves, Result, ScoreModel, State, config};
use tch::{CModule, Device, Kind, Tensor};

/// Where features come from.
#[config]
#[derive(Clone)]
pub enum Features {
    /// The configuration of a classifier, relative to this file; trained on first use. It sees the images
    /// as they are, so train it on the same dataset.
    Classifier(#[schemars(extend("x-isotropy-path" = true))] String),
    /// A network in a file: the Inception network, for distances that compare with published ones.
    TorchScript(TorchScript),
}

/// A TorchScript module that maps images `[B, 3, H, W]` to features `[B, d]` (or `[B, d, 1, 1]`).
#[config]
#[derive(Clone)]
pub struct TorchScript {
    /// The file; relative names start at the data folder.
    pub file: String,
    /// Rows and columns that images are scaled to (bilinear); null leaves them.
    #[serde(default)]
    #[schemars(inner(range(min = 1, max = 4096)))]
    pub side: Option<i64>,
    /// Range of the pixels that it expects.
    #[serde(default)]
    pub range: PixelRange,
}

/// A range of pixels.
#[config]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum PixelRange {
    /// From -1 to 1, as images have it here.
    #[default]
    Symmetric,
    /// From 0 to 1.
    Unit,
}

/// Images that go through a network together.
const CHUNK: i64 = 100;

/// A network that gives features.
pub(super) enum Extractor {
    Model(Box<dyn ScoreModel>),
    Script(CModule, TorchScript),
}

impl Features {
    /// The network.
    pub(super) fn load(&self, evaluation: &Evaluation) -> Result<Extractor> {
        match self {
            Self::Classifier(config) => {
                Ok(Extractor::Model(evaluation.services.trained_model(config)?))
            }
            Self::TorchScript(script) => {
                let module = load_script(&script.file, evaluation)?;
                Ok(Extractor::Script(module, script.clone()))
            }
        }
    }
}

/// A TorchScript file on the device of the run.
pub(super) fn load_script(file: &str, evaluation: &Evaluation) -> Result<CModule> {
    let path = evaluation.load.data_dir.join(file);
    if !path.is_file() {
        let message = format!("{}: there is no such file", path.display());
        return Err(Error::data(message, "save the network with torch.jit.save and name its file"));
    }
    let mut module = CModule::load_on_device(&path, evaluation.load.device).map_err(|reason| {
        let text = reason.to_string();
        let line = text.lines().next().unwrap_or("no reason given");
        let message = format!("{}: it is no TorchScript file: {line}", path.display());
        Error::data(message, "save the network with torch.jit.save")
    })?;
    module.set_eval();
    Ok(module)
}

impl Extractor {
    /// Features `[N, d]` of images `[N, C, H, W]` from -1 to 1, in double precision on the CPU.
    pub(super) fn of(&self, images: &Tensor) -> Result<Tensor> {
        let _guard = tch::no_grad_guard();
        let count = images.size()[0];
        let mut parts = Vec::new();
        for start in (0..count).step_by(CHUNK as usize) {
            let chunk = images.narrow(0, start, CHUNK.min(count - start));
            let features = match self {
                Self::Model(model) => {
                    let state = State::new(Field::new(chunk, Moves::Image));
                    model.features(&state)?.ok_or_else(|| {
                        Error::Unsupported("the classifier of this metric has no features".into())
                    })?
                }
                Self::Script(module, options) => {
                    let features = module.forward_ts(&[options.prepared(&chunk)])?;
                    features.flatten(1, -1)
                }
            };
            parts.push(features.to_kind(Kind::Double).to_device(Device::Cpu));
        }
        Ok(Tensor::f_cat(&parts, 0)?)
    }
}

impl TorchScript {
    /// Images as the module expects them: three channels, its size, its range.
    fn prepared(&self, images: &Tensor) -> Tensor {
        let images = images.to_kind(Kind::Float);
        let images = if images.size()[1] == 1 { images.repeat([1, 3, 1, 1]) } else { images };
        let images = match self.side {
            Some(side) if images.size()[2..] != [side, side] => {
                images.upsample_bilinear2d([side, side], false, None, None)
            }
            _ => images,
        };
        match self.range {
            PixelRange::Symmetric => images,
            PixelRange::Unit => (images + 1.0) * 0.5,
        }
    }
}
