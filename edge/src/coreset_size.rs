//! The coreset size by the tutorial's formula, and what the formula guarantees for a coreset of a given size.
//!
//! Inputs are n, k, d, epsilon and delta; results are m, and the epsilon that a given m stands for. No buffer is sized by it:
//! at this scale the bound is of no use, and `firmware::limits` has the sizes.
//!
//! m = A ln(A)^(d/2), A = k ln(n) / (delta^(d/2) epsilon^d): the theorem on coresets drawn by k-means++ seeding of
//! Ackermann et al., "StreamKM++" (ALENEX 2010), with its hidden constant taken as 1.

/// What the formula is asked.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// Points in the data, n.
    pub points: u64,
    /// Clusters looked for, k.
    pub clusters: u64,
    /// Dimensions of a point, d.
    pub dims: u32,
    /// Relative error of the cost.
    pub epsilon: f64,
    /// Probability that the promise does not hold.
    pub delta: f64,
}

impl Question {
    fn a(&self, epsilon: f64) -> f64 {
        let d = f64::from(self.dims);
        self.clusters as f64 * (self.points as f64).ln() / (self.delta.powf(d / 2.0) * epsilon.powf(d))
    }

    fn size_at(&self, epsilon: f64) -> f64 {
        let a = self.a(epsilon);
        // Below A = e the logarithm would shrink the size; the bound speaks of large A only.
        a * a.ln().max(0.0).powf(f64::from(self.dims) / 2.0)
    }

    /// Points that the formula asks for, rounded to the nearest whole number.
    pub fn size(&self) -> f64 {
        self.size_at(self.epsilon).round()
    }

    /// The epsilon for which the formula asks for just `m` points, at the same delta.
    pub fn epsilon_of(&self, m: f64) -> f64 {
        // The size falls as epsilon grows: bisect on its logarithm.
        let (mut low, mut high) = (1e-6f64.ln(), 1e6f64.ln());
        for _ in 0..200 {
            let middle = (low + high) / 2.0;
            if self.size_at(middle.exp()) > m { low = middle } else { high = middle }
        }
        ((low + high) / 2.0).exp()
    }

    /// The answer as the command prints it: the number on a line of its own, then what it means.
    pub fn answer(&self) -> String {
        let (m, share) = (self.size(), 100.0 * self.size() / self.points as f64);
        let at_1000 = self.epsilon_of(1000.0);
        let verdict =
            if at_1000 >= 1.0 { "the cost may be off by more than itself: no guarantee at all" } else { "of the cost" };
        format!(
            "{m}\nFor {} points, {} clusters, {} dimensions, epsilon {} and delta {} the formula asks for {m} points, {share:.1} % of the data. \
             A coreset of 1000 guarantees, with probability {}, an error within {at_1000:.2} times the cost ({verdict}); \
             what a frame's coreset really costs is in its report's certificate.\n",
            self.points,
            self.clusters,
            self.dims,
            self.epsilon,
            self.delta,
            1.0 - self.delta,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TUTORIAL: Question = Question { points: 96_000, clusters: 13, dims: 3, epsilon: 0.5, delta: 0.5 };

    #[test]
    fn the_tutorials_frame_asks_for_most_of_its_pixels() {
        assert_eq!(TUTORIAL.size(), 78_141.0);
        assert!(TUTORIAL.answer().starts_with("78141\n"));
        let strict = Question { epsilon: 0.1, delta: 0.1, ..TUTORIAL };
        assert!((strict.size() / 2.84e8 - 1.0).abs() < 0.01);
    }

    #[test]
    fn a_thousand_points_promise_an_error_beyond_the_cost_itself() {
        assert!((TUTORIAL.epsilon_of(1000.0) - 1.6).abs() < 0.05);
        assert!((Question { delta: 0.1, ..TUTORIAL }.epsilon_of(1000.0) - 3.6).abs() < 0.06);
        assert!((TUTORIAL.epsilon_of(TUTORIAL.size()) - 0.5).abs() < 1e-4);
    }
}
