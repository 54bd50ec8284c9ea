//! The two choices that a report names: how the coreset is drawn, and how the clusters are refined.
//!
//! Both travel as postcard variants by their order here, so new ones go to the end. On command lines, in configurations
//! and in JSON they are words.

/// How the coreset was drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub enum Method {
    /// 5-bit histogram of cluster features, collapsed in an octree: deterministic, certified.
    Octree,
    /// Pixels drawn without replacement, as in the tutorial.
    Uniform,
    /// Cells drawn by their part in the cost of a rough solution (Bachem, Lucic and Krause, 2015).
    Sensitivity,
    /// Cells parted by a tree of k-means++ seeds (Ackermann et al., StreamKM++, 2012).
    StreamKm,
    /// Cells drawn half by weight, half by distance to the mean (Bachem, Lucic and Krause, 2018).
    Lightweight,
}

impl Method {
    /// All of them.
    pub const ALL: [Method; 5] =
        [Method::Octree, Method::Uniform, Method::Sensitivity, Method::StreamKm, Method::Lightweight];

    /// The word for it on command lines and in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Method::Octree => "octree",
            Method::Uniform => "uniform",
            Method::Sensitivity => "sensitivity",
            Method::StreamKm => "streamkm",
            Method::Lightweight => "lightweight",
        }
    }

    /// Whether its coreset comes with a certificate ([`crate::report::Report::scatter_q12`]).
    pub const fn is_certified(self) -> bool {
        matches!(self, Method::Octree | Method::StreamKm)
    }
}

/// What is done for the centroids after lambda has decided how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub enum Refine {
    /// Nothing: the centroids are those of DC-DP-means on the coreset.
    None,
    /// A few swaps of clusters on the points that decide, and Lloyd's sweeps over all cells of the frame: faster than `Mse`,
    /// and nearly as low a cost.
    Lloyd,
    /// Lloyd's sweeps and swaps of clusters: the lowest cost, which may drop a small colour. Called `swap` before
    /// version 3 of the report.
    Mse,
    /// As `Mse`, but only as far as every colour of at least `w_open` pixels stays within lambda of the palette.
    Cover,
}

impl Refine {
    /// All of them.
    pub const ALL: [Refine; 4] = [Refine::None, Refine::Lloyd, Refine::Mse, Refine::Cover];

    /// The word for it on command lines and in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Refine::None => "none",
            Refine::Lloyd => "lloyd",
            Refine::Mse => "mse",
            Refine::Cover => "cover",
        }
    }

    /// The refinement that `word` names. `swap` is the former name of `mse`, in older configurations and records.
    pub fn from_word(word: &str) -> Option<Refine> {
        match word {
            "swap" => Some(Refine::Mse),
            _ => Refine::ALL.into_iter().find(|r| r.word() == word),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_names_its_refinement_and_swap_is_mse() {
        for refine in Refine::ALL {
            assert_eq!(Refine::from_word(refine.word()), Some(refine));
        }
        assert_eq!(Refine::from_word("swap"), Some(Refine::Mse));
        assert_eq!(Refine::from_word("Cover"), None);
    }
}
