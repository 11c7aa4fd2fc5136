//! The scalings of DDBM (Zhou et al. 2024, section 4.1; spdm.md 1.5), functions of the coefficients
//! of `x_t = a x_T + b x_0 + sqrt(c) z`.

use isotropy_core::{Error, Kernel, Result, Scale, config};
use tch::Tensor;

/// Second moments of the two ends, in the unit of the data. Both are about zero, as the published
/// ones are: for data in [-1, 1] take the root mean square.
#[config(default)]
#[derive(Clone, Copy, PartialEq)]
pub struct DataMoments {
    /// Standard deviation of the clean end `x_0`; positive.
    #[schemars(range(min = 1e-9, max = 1e9))]
    pub sigma_data: f64,
    /// Standard deviation of the other end `x_T`; positive.
    #[schemars(range(min = 1e-9, max = 1e9))]
    pub sigma_end: f64,
    /// Covariance of the two ends, in squared units of the data; its modulus is below
    /// `sigma_data sigma_end`.
    pub covariance: f64,
}

impl Default for DataMoments {
    fn default() -> Self {
        Self { sigma_data: 0.5, sigma_end: 0.5, covariance: 0.0 }
    }
}

impl DataMoments {
    /// Refuses what is no covariance matrix.
    ///
    /// # Errors
    /// A configuration error that points at the number.
    pub fn checked(self) -> Result<Self> {
        for (pointer, value) in [("/sigma_data", self.sigma_data), ("/sigma_end", self.sigma_end)] {
            if !(value.is_finite() && value > 0.0) {
                return Err(Error::config(pointer, "a standard deviation must be positive"));
            }
        }
        let most = self.sigma_data * self.sigma_end;
        // NaN fails too.
        if self.covariance.abs() < most {
            return Ok(self);
        }
        Err(Error::config(
            "/covariance",
            format!("the covariance {} must lie between -{most} and {most}", self.covariance),
        ))
    }
}

/// `D = skip x_t + out F(input x_t, ..)`. With `A = a^2 sigma_T^2 + b^2 sigma_0^2 + 2 a b cov + c`, the
/// variance of `x_t`: input and target of the network `F` have variance 1 at every time.
#[derive(Debug)]
pub struct BridgeScales {
    /// `(b sigma_0^2 + a cov) / A`.
    pub skip: Tensor,
    /// `sqrt((a^2 (sigma_T^2 sigma_0^2 - cov^2) + sigma_0^2 c) / A)`.
    pub out: Tensor,
    /// `A^(-1/2)`.
    pub input: Tensor,
}

impl BridgeScales {
    /// At the coefficients of a kernel that has times of a batch.
    ///
    /// # Errors
    /// When the kernel is not that of a bridge at the times of a batch.
    pub fn new(kernel: &Kernel, moments: &DataMoments) -> Result<Self> {
        let (Some([Scale::Each(a)]), [Scale::Each(b)], [Scale::Each(std)]) =
            (kernel.shift.as_deref(), kernel.mean.as_slice(), kernel.std.as_slice())
        else {
            return Err(Error::Unsupported("the scalings of a bridge need a known end".into()));
        };
        let DataMoments { sigma_data, sigma_end, covariance } = *moments;
        let (data, end) = (sigma_data * sigma_data, sigma_end * sigma_end);
        let c = std.square();
        let total = a.square() * end + b.square() * data + a * b * (2.0 * covariance) + &c;
        // sigma_T^2 sigma_0^2 - cov^2 as a product.
        let free = (sigma_end * sigma_data - covariance) * (sigma_end * sigma_data + covariance);
        let left = a.square() * free + c * data;
        Ok(Self {
            skip: (b * data + a * covariance) / &total,
            out: (left / &total).sqrt(),
            input: total.rsqrt(),
        })
    }

    /// The weight `1 / out^2` ("bridge_karras"): the squared error of the raw network `F` counts
    /// alike at every time.
    pub fn weight(&self) -> Tensor {
        self.out.square().reciprocal()
    }
}
