//! The textbook's DC-DP-means on matrices, and the certificate's theorems on pixels, against the core.
//!
//! The inputs are drawn colours. Sweeps, histogram and rounding are written again from the definitions; nothing of the
//! core's own is used for the expected results.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use firmware::cluster::{self, Clusters, Params};
use firmware::coreset::{self, Features, Merge, Point};
use firmware::frame::Frame;
use ndarray::{Array1, Array2, Axis};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// The tutorial's DC-DP-means (the far point leaves its cluster before the means are taken), with centroids rounded to
/// 1/64 levels, half up, without which it is chaotic: the same points, then another partition. Rows of `x` are colours
/// in 1/64 levels. Gives the label of each, the centroids, and the iterations.
fn textbook(x: &Array2<f64>, w: &Array1<f64>, lambda: f64, w_open: f64) -> (Vec<usize>, Array2<f64>, u32) {
    let mean = |rows: &[usize]| {
        let mass: f64 = rows.iter().map(|&i| w[i]).sum();
        let sum = rows.iter().fold(Array1::zeros(3), |sum: Array1<f64>, &i| sum + &x.row(i) * w[i]);
        sum.mapv(|s| ((s + (mass / 2.0).floor()) / mass).floor())
    };
    let all: Vec<usize> = (0..x.nrows()).collect();
    let mut centroids = mean(&all).insert_axis(Axis(0));
    let (mut labels, mut before, mut iterations) = (vec![usize::MAX; x.nrows()], f64::INFINITY, 0);
    loop {
        iterations += 1;
        let distances = Array2::from_shape_fn((x.nrows(), centroids.nrows()), |(i, k)| {
            (&x.row(i) - &centroids.row(k)).mapv(|d| d * d).sum()
        });
        let nearest: Vec<usize> = distances
            .rows()
            .into_iter()
            .map(|row| (0..row.len()).min_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap())
            .collect();
        let cost: f64 = nearest.iter().enumerate().map(|(i, &k)| w[i] * distances[[i, k]]).sum();
        let objective = cost + lambda * lambda * centroids.nrows() as f64;
        let changed = nearest != labels;
        labels = nearest;
        let far = (0..x.nrows()).filter(|&i| w[i] >= w_open).map(|i| (distances[[i, labels[i]]], i));
        let far = far.fold((0.0, 0), |best, it| if it.0 > best.0 { it } else { best });
        let opens = far.0 > lambda * lambda;
        if !opens && (!changed || objective >= before) {
            return (labels, centroids, iterations);
        }
        before = objective;
        if opens {
            labels[far.1] = centroids.nrows();
        }
        let members = |k: usize| (0..x.nrows()).filter(|&i| labels[i] == k).collect::<Vec<_>>();
        let kept: Vec<Vec<usize>> = (0..=centroids.nrows()).map(members).filter(|m| !m.is_empty()).collect();
        for (k, rows) in kept.iter().enumerate() {
            rows.iter().for_each(|&i| labels[i] = k);
        }
        let rows: Vec<Array1<f64>> = kept.iter().map(|rows| mean(rows)).collect();
        centroids = Array2::from_shape_fn((rows.len(), 3), |(k, c)| rows[k][c]);
    }
}

fn pixels(colours: &[([u8; 3], u32)]) -> Vec<Point> {
    colours.iter().map(|&(px, w)| Point::pixel(px, w)).collect()
}

proptest! {
    #[test]
    fn the_core_parts_points_as_the_textbook_does(
        colours in prop::collection::vec(([any::<u8>(), any::<u8>(), any::<u8>()], 1u32..40), 1..120),
        lambda in 10u32..150, w_open in 1u32..20,
    ) {
        let points = pixels(&colours);
        let x = Array2::from_shape_fn((points.len(), 3), |(i, c)| f64::from(points[i].position_q6[c]));
        let w = points.iter().map(|p| f64::from(p.weight())).collect::<Array1<f64>>();
        let (labels, centroids, iterations) = textbook(&x, &w, f64::from(lambda * 64), f64::from(w_open));
        let (mut clusters, mut assign) = (Clusters::new(), vec![0; points.len()]);
        let params = Params { lambda_q6: lambda * 64, w_open, iterations_max: 1_000, clusters_max: 255, space: Default::default() };
        let run = cluster::run(&points, params, &mut clusters, &mut assign);
        prop_assert_eq!(assign.iter().map(|&a| usize::from(a)).collect::<Vec<_>>(), labels);
        let found = Array2::from_shape_fn((clusters.len(), 3), |(k, c)| f64::from(clusters[k].position_q6[c]));
        prop_assert_eq!(found, centroids);
        prop_assert_eq!(run.iterations, iterations);
    }

    #[test]
    fn cells_and_the_certificates_brackets_are_what_the_pixels_say(
        rgb in prop::collection::vec(any::<u8>(), 30..1_500),
        queries in prop::collection::vec([0u16..16_321, 0u16..16_321, 0u16..16_321], 1..9),
    ) {
        let n = rgb.len() / 3;
        let px: Vec<[f64; 3]> = rgb.chunks_exact(3).map(|p| [p[0], p[1], p[2]].map(f64::from)).collect();
        let queries: Vec<[f64; 3]> = queries.iter().map(|q| q.map(|v| f64::from(v) / 64.0)).collect();
        let distance2 = |a: &[f64; 3], b: &[f64; 3]| -> f64 { a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum() };
        let nearest = |a: &[f64; 3]| (0..queries.len()).min_by(|&i, &j| distance2(a, &queries[i]).total_cmp(&distance2(a, &queries[j]))).unwrap();
        // The cells of features, by the definition.
        let mut cells: BTreeMap<[u8; 3], Vec<usize>> = BTreeMap::new();
        for (i, p) in rgb.chunks_exact(3).enumerate() {
            cells.entry([p[0] >> 3, p[1] >> 3, p[2] >> 3]).or_default().push(i);
        }
        let (mut low, mut high, mut scatter) = (0.0, 0.0, 0.0);
        for members in cells.values() {
            let w = members.len() as f64;
            let mean = [0, 1, 2].map(|c| members.iter().map(|&i| px[i][c]).sum::<f64>() / w);
            let d: f64 = members.iter().map(|&i| distance2(&px[i], &mean)).sum();
            let to_mean = w * distance2(&mean, &queries[nearest(&mean)]);
            scatter += d;
            high += to_mean + d;
            // (c): a cell inside one Voronoi region is exact, only the others are uncertain.
            let pure = members.iter().all(|&i| nearest(&px[i]) == nearest(&mean));
            low += if pure { to_mean + d } else { (to_mean.sqrt() - d.sqrt()).max(0.0).powi(2) };
        }
        let cost: f64 = px.iter().map(|p| distance2(p, &queries[nearest(p)])).sum();
        let slack = 1e-6 * (1.0 + high);
        prop_assert!(low <= cost + slack && cost <= high + slack, "{} {} {}", low, cost, high);

        let frame = Frame::rgb(n, 1, &rgb[..n * 3]).unwrap();
        let (mut hist, mut found) = (vec![Features::ZERO; 32_768], vec![Point::default(); 32_768]);
        let counted = coreset::count(&frame, &mut hist, &mut found, &mut []);
        found.truncate(counted.cells);
        let mut weights: Vec<usize> = found.iter().map(|p| p.weight() as usize).collect();
        let mut want: Vec<usize> = cells.values().map(Vec::len).collect();
        weights.sort_unstable();
        want.sort_unstable();
        prop_assert_eq!(weights, want);
        // The core's D is about means rounded to 1/64: it exceeds the definition's by at most 3/128^2 a pixel.
        let d = coreset::scatter_q12(&found, counted.squares) as f64 / 4096.0;
        prop_assert!(d >= scatter - slack && d <= scatter + n as f64 * 3.0 / 16_384.0 + slack, "{} {}", d, scatter);
        // (e): no pixel is farther from the queries than the farthest cell mean, and a cell's diagonal.
        let farthest = |points: &mut dyn Iterator<Item = [f64; 3]>| points.map(|p| distance2(&p, &queries[nearest(&p)])).fold(0.0, f64::max).sqrt();
        let of_cells = farthest(&mut found.iter().map(|p| p.position_q6.map(|v| f64::from(v) / 64.0)));
        let of_pixels = farthest(&mut px.iter().copied());
        prop_assert!(of_pixels <= of_cells + 7.0 * 3f64.sqrt() + 0.02);
    }
}

/// ALGORITHMS, table of 2b: what the certificate is worth on a photograph. Skipped without the stills.
#[test]
fn the_certificate_is_as_narrow_on_photographs_as_it_was_measured() {
    let stills = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/stills");
    let Ok(dir) = std::fs::read_dir(&stills) else { return };
    for path in dir.map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "png")) {
        let mut reader =
            png::Decoder::new(std::io::BufReader::new(std::fs::File::open(&path).unwrap())).read_info().unwrap();
        let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut rgb).unwrap();
        assert_eq!(info.color_type, png::ColorType::Rgb, "{}", path.display());
        let frame = Frame::rgb(info.width as usize, info.height as usize, &rgb).unwrap();
        let (mut hist, mut cells) = (vec![Features::ZERO; 32_768], vec![Point::default(); 32_768]);
        let counted = coreset::count(&frame, &mut hist, &mut cells, &mut []);
        let rms =
            (coreset::scatter_q12(&cells[..counted.cells], counted.squares) as f64 / 4096.0 / frame.pixels() as f64)
                .sqrt();
        // Measured: 2.8 to 3.4 for cells of 5 bits.
        assert!(rms < 3.4 * 1.2, "{}: {rms}", path.display());
        let mut scout = vec![Point::default(); 4_096];
        let parents = coreset::parents(&cells[..counted.cells], &mut scout);
        let (mut points, mut merges) = (cells.clone(), vec![Merge::default(); 4_096]);
        let parents = &scout[..parents];
        let drawn = coreset::octree(&cells[..counted.cells], parents, counted.squares, 1_000, &mut points, &mut merges);
        let thinned = (drawn.scatter_q12.unwrap() as f64 / 4096.0 / frame.pixels() as f64).sqrt();
        assert!(thinned >= rms && thinned < 6.6 * 1.2, "{}: {thinned}", path.display());
    }
}
