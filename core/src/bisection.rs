//! Bisection.

/// The end of an interval `[low, high]` up to which `below` holds, enclosed by 60 halvings: the last
/// point found below it and the first not below it.
///
/// ```
/// let (low, high) = isotropy_core::bisect(0.0, 2.0, |x| x * x < 2.0);
/// assert!(low <= 2.0_f64.sqrt() && 2.0_f64.sqrt() <= high && high - low < 1e-15);
/// ```
pub fn bisect(mut low: f64, mut high: f64, below: impl Fn(f64) -> bool) -> (f64, f64) {
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if below(middle) { low = middle } else { high = middle }
    }
    (low, high)
}
