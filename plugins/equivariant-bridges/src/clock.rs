//! The clock of a bridge: how much noise lies behind a time and how much lies ahead.
//!
//! All three bridges of this plugin are Gauss-Markov processes pinned at both ends. With the base
//! process `x_t = alpha_t x_0 + sigma_t z` there are an increasing function `p` with `p(0) = 0` and a
//! decreasing function `q` with `q(T) = 0`, and `P = p(T) = q(0)`, such that
//!
//! * marginals: `x_t = a x_T + b x_0 + sqrt(c) z`, `a = p/P`, `b = q/P`, `c = p q / P`
//!   (`c` is the Green's function of the base process on the diagonal);
//! * with `w(s, t) = (p_t q_s - p_s q_t) / P` for `s < t`:
//!   `x_s | x_t, x_0 ~ N((p_s x_t + w x_0) / p_t, p_s w / p_t)` (the other end drops out: Markov), and
//!   `x_t | x_s, x_T ~ N((q_t x_s + w x_T) / q_s, q_t w / q_s)`;
//! * Doob's `h = grad_x log p(x_T | x_t) = (x_T - rho x) / q`.
//!
//! | base | `p` | `q` | `w(s, t)` | `rho` | `g^2` |
//! |---|---|---|---|---|---|
//! | VE, `sigma = t` | `t^2` | `(T-t)(T+t)` | `(t-s)(t+s)` | 1 | `2t` |
//! | VP, `B = beta_d t^2/2 + beta_min t` | `2 sinh(B/2)` | `2 sinh((B_T-B)/2)` | `2 sinh((B_t-B_s)/2)` | `exp(-(B_T-B)/2)` | `B'` |
//! | Brownian, clock `m` in (0, 1) | `k m` | `k (1-m)` | `k (m_t-m_s)` | 1 | `k m'` |
//!
//! These are the coefficients of spdm.md 1.5 (DDBM: Zhou et al. 2024) and sism.md 2.7 (BBDM: Li et al.
//! 2023) as products: nothing is lost where two nearly equal numbers would be subtracted. For VP the
//! notes' `a = r alpha_t / alpha_T` with `r = expm1(B) / expm1(B_T)` is `sinh(B/2) / sinh(B_T/2)`, and
//! `b = (1 - r) alpha_t` is `sinh((B_T-B)/2) / sinh(B_T/2)`.

use isotropy_core::Step;
use isotropy_diffusion::clock::Rows;
use tch::Tensor;

/// The base process.
#[derive(Debug, Clone, PartialEq)]
pub enum Base {
    /// Variance exploding: `alpha = 1`, `sigma = t`.
    Exploding,
    /// Variance preserving with a linear rate: `B = beta_d t^2 / 2 + beta_min t`.
    Preserving {
        /// Slope of the rate.
        beta_d: f64,
        /// Rate at time 0.
        beta_min: f64,
    },
    /// Brownian motion whose clock runs from 0 to 1: its variance at clock `m` is `variance * m`.
    Brownian {
        /// Variance of the motion over the whole way, `2 max_variance` of BBDM.
        variance: f64,
        /// The clock at the whole times `0 ..= T`; `None` for `m = t`.
        table: Option<Vec<f64>>,
    },
}

/// Base process and end of its time axis.
#[derive(Debug)]
pub struct BridgeClock {
    base: Base,
    end: f64,
    /// Clock and one minus clock at the whole times of a discrete bridge.
    rows: Option<Rows>,
}

/// The coefficients of `x_t = end x_T + clean x_0 + std z` at times of a batch.
#[derive(Debug)]
pub struct Coefficients {
    /// `a`, the factor of the other end.
    pub end: Tensor,
    /// `b`, the factor of the clean point.
    pub clean: Tensor,
    /// `sqrt(c)`.
    pub std: Tensor,
}

impl BridgeClock {
    /// The clock of a base process on `[0, end]`.
    pub fn new(base: Base, end: f64) -> Self {
        let rows = match &base {
            Base::Brownian { table: Some(table), .. } => {
                Some(Rows::new(table.iter().map(|m| [*m, 1.0 - m]).collect()))
            }
            _ => None,
        };
        Self { base, end, rows }
    }

    /// The time `T` at which the bridge reaches its other end.
    pub fn end(&self) -> f64 {
        self.end
    }

    /// Whether time is a row number of a table.
    pub fn discrete(&self) -> bool {
        self.rows.is_some()
    }

    /// The name of the bridge.
    pub fn name(&self) -> &'static str {
        match self.base {
            Base::Exploding => "VE bridge",
            Base::Preserving { .. } => "VP bridge",
            Base::Brownian { .. } => "Brownian bridge",
        }
    }

    /// The clock of the Brownian bridge at a time; whole times are rounded.
    fn m(&self, t: f64) -> f64 {
        self.rows.as_ref().map_or(t / self.end, |rows| rows.at(t)[0])
    }

    /// `B_t - B_s`.
    fn exponent(beta_d: f64, beta_min: f64, s: f64, t: f64) -> f64 {
        (t - s) * (0.5 * beta_d * (t + s) + beta_min)
    }

    /// `w(s, t)`: negative where `s` is the later time.
    pub fn between(&self, s: f64, t: f64) -> f64 {
        match self.base {
            Base::Exploding => (t - s) * (t + s),
            Base::Preserving { beta_d, beta_min } => {
                2.0 * (0.5 * Self::exponent(beta_d, beta_min, s, t)).sinh()
            }
            Base::Brownian { variance, .. } => variance * (self.m(t) - self.m(s)),
        }
    }

    /// `p(t)`: what lies behind.
    pub fn behind(&self, t: f64) -> f64 {
        match self.base {
            // The table of a discrete clock need not start at 0.
            Base::Brownian { variance, .. } => variance * self.m(t),
            _ => self.between(0.0, t),
        }
    }

    /// `q(t)`: what lies ahead.
    pub fn ahead(&self, t: f64) -> f64 {
        match self.base {
            Base::Brownian { variance, .. } => variance * (1.0 - self.m(t)),
            _ => self.between(t, self.end),
        }
    }

    /// `P`.
    pub fn span(&self) -> f64 {
        match self.base {
            Base::Brownian { variance, .. } => variance,
            _ => self.between(0.0, self.end),
        }
    }

    /// `(a, b, sqrt(c))` at a time.
    pub fn coefficients(&self, t: f64) -> (f64, f64, f64) {
        let (p, q, whole) = (self.behind(t), self.ahead(t).max(0.0), self.span());
        (p / whole, q / whole, (p * q / whole).sqrt())
    }

    /// `1 - a` as a product. `1 - sinh x / sinh y = 2 cosh((x+y)/2) sinh((y-x)/2) / sinh y`.
    pub fn complement(&self, t: f64) -> f64 {
        match self.base {
            Base::Preserving { beta_d, beta_min } => {
                let exponent = |s, t| 0.5 * Self::exponent(beta_d, beta_min, s, t);
                let (behind, ahead) = (exponent(0.0, t), exponent(t, self.end));
                4.0 * (behind + 0.5 * ahead).cosh() * (0.5 * ahead).sinh() / self.span()
            }
            _ => self.ahead(t) / self.span(),
        }
    }

    /// `1 - rho` of Doob's h, without the difference: `x_T - rho x = (x_T - x) + (1 - rho) x`.
    pub fn slack(&self, t: f64) -> f64 {
        match self.base {
            Base::Preserving { beta_d, beta_min } => {
                -(-0.5 * Self::exponent(beta_d, beta_min, t, self.end)).exp_m1()
            }
            _ => 0.0,
        }
    }

    /// `g^2`, averaged over a step; at an instant its value (of a table, that of the step that ends
    /// there).
    pub fn noise_rate(&self, step: Step) -> f64 {
        let Step { from, to } = step;
        match self.base {
            Base::Exploding => from + to,
            Base::Preserving { beta_d, beta_min } => 0.5 * beta_d * (from + to) + beta_min,
            Base::Brownian { variance, .. } if from != to => {
                variance * (self.m(from) - self.m(to)) / (from - to)
            }
            Base::Brownian { variance, .. } if self.discrete() => {
                variance * (self.m(from) - self.m(from - 1.0))
            }
            Base::Brownian { variance, .. } => variance / self.end,
        }
    }

    /// The rate `r` of the base's drift `-r x / 2`, averaged over a step.
    pub fn drift_rate(&self, step: Step) -> f64 {
        match self.base {
            Base::Preserving { .. } => self.noise_rate(step),
            _ => 0.0,
        }
    }

    /// The noise level `sigma / alpha` of the base process: `SNR^(-1/2)`.
    pub fn level(&self, t: f64) -> f64 {
        match self.base {
            Base::Preserving { beta_d, beta_min } => {
                Self::exponent(beta_d, beta_min, 0.0, t).exp_m1().sqrt()
            }
            _ => self.behind(t).sqrt(),
        }
    }

    /// The coefficients at times of any shape, in the kind and on the device of the times. A time
    /// that rounding carries past the end counts as the end.
    pub fn tensors(&self, t: &Tensor) -> Coefficients {
        match &self.base {
            Base::Exploding => {
                let clean =
                    ((self.end - t) * (t + self.end) / (self.end * self.end)).clamp_min(0.0);
                let std = clean.sqrt() * t;
                Coefficients { end: (t / self.end).square(), clean, std }
            }
            Base::Preserving { beta_d, beta_min } => {
                let half = |length: Tensor, sum: Tensor| {
                    (length * (sum * (0.5 * beta_d) + *beta_min) * 0.5).sinh()
                };
                let whole = 0.5 * self.span();
                let behind = half(t.shallow_clone(), t.shallow_clone());
                let clean = (half(self.end - t, t + self.end) / whole).clamp_min(0.0);
                let std = (&behind * &clean * 2.0).sqrt();
                Coefficients { end: behind / whole, clean, std }
            }
            Base::Brownian { variance, .. } => {
                let (end, clean) = match &self.rows {
                    None => (t / self.end, ((self.end - t) / self.end).clamp_min(0.0)),
                    Some(rows) => {
                        let (end, clean) = rows.gather(&t.round(), (t.kind(), t.device()));
                        (end.view_as(t), clean.view_as(t))
                    }
                };
                let std = (&end * &clean * *variance).sqrt();
                Coefficients { end, clean, std }
            }
        }
    }
}
