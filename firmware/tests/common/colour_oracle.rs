//! CIELAB and CIEDE2000 in double precision, as the textbooks have them: what the integers are tested against.
//!
//! Only tests use this file. It is written from the formulas and shares nothing with the integer code.

extern crate std;

/// An sRGB colour in 8-bit levels as L, a and b (D65, 2 degrees).
pub fn lab(rgb: [f64; 3]) -> [f64; 3] {
    let linear = rgb.map(|level| {
        let c = level / 255.0;
        if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
    });
    let rows =
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]];
    let [x, y, z] = rows.map(|row: [f64; 3]| {
        let light: f64 = row.iter().zip(linear).map(|(m, c)| m * c).sum();
        let t = light / row.iter().sum::<f64>();
        if t > (6.0f64 / 29.0).powi(3) { t.cbrt() } else { t * 841.0 / 108.0 + 4.0 / 29.0 }
    });
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

/// CIEDE2000 of two colours in CIELAB.
pub fn de00([l1, a1, b1]: [f64; 3], [l2, a2, b2]: [f64; 3]) -> f64 {
    let weight = |c: f64| (c.powi(7) / (c.powi(7) + 25f64.powi(7))).sqrt();
    let g = 0.5 * (1.0 - weight((a1.hypot(b1) + a2.hypot(b2)) / 2.0));
    let (a1, a2) = ((1.0 + g) * a1, (1.0 + g) * a2);
    let (c1, c2) = (a1.hypot(b1), a2.hypot(b2));
    let hue = |a: f64, b: f64| if a == 0.0 && b == 0.0 { 0.0 } else { b.atan2(a).to_degrees().rem_euclid(360.0) };
    let (h1, h2) = (hue(a1, b1), hue(a2, b2));
    let apart = h2 - h1;
    let dh = match apart {
        _ if c1 * c2 == 0.0 => 0.0,
        d if d.abs() <= 180.0 => d,
        d if d > 180.0 => d - 360.0,
        d => d + 360.0,
    };
    let mean = match h1 + h2 {
        sum if c1 * c2 == 0.0 => sum,
        sum if apart.abs() <= 180.0 => sum / 2.0,
        sum if sum < 360.0 => (sum + 360.0) / 2.0,
        sum => (sum - 360.0) / 2.0,
    };
    let (dl, dc) = (l2 - l1, c2 - c1);
    let dh = 2.0 * (c1 * c2).sqrt() * (dh / 2.0).to_radians().sin();
    let (lm, cm) = ((l1 + l2) / 2.0 - 50.0, (c1 + c2) / 2.0);
    let cos = |times: f64, shift: f64| (times * mean + shift).to_radians().cos();
    let t = 1.0 - 0.17 * cos(1.0, -30.0) + 0.24 * cos(2.0, 0.0) + 0.32 * cos(3.0, 6.0) - 0.20 * cos(4.0, -63.0);
    let rotation = 30.0 * (-((mean - 275.0) / 25.0).powi(2)).exp();
    let rt = -(2.0 * rotation).to_radians().sin() * 2.0 * weight(cm);
    let l = dl / (1.0 + 0.015 * lm * lm / (20.0 + lm * lm).sqrt());
    let c = dc / (1.0 + 0.045 * cm);
    let h = dh / (1.0 + 0.015 * cm * t);
    (l * l + c * c + h * h + rt * c * h).sqrt()
}
