//! The pages with curves: what is run for them.

use super::timed::{Timed, Variant};

const fn trained(
    (set, title): (&'static str, &'static str),
    folder: &'static str,
    config: &'static str,
    sets: &'static [&'static str],
    published: &'static str,
) -> Variant {
    Variant { set, title, folder, config, sets, weights_of: None, published }
}

const fn drawn(
    (set, title): (&'static str, &'static str),
    folder: &'static str,
    config: &'static str,
    weights_of: &'static str,
) -> Variant {
    Variant { set, title, folder, config, sets: &[], weights_of: Some(weights_of), published: "-" }
}

/// Published: the table of the released code (geomndp.md 2.1), nats a target point; its error bars are 5.7 times too wide.
pub(super) const GP1D: Timed = Timed {
    name: "gp1d",
    configs: "gp-fields",
    variants: &[
        trained(("squared exponential", "attention"), "se", "se", &[], "GP .70; .69 / .71"),
        trained(("Matern 5/2", "attention"), "matern52", "matern52", &[], "GP .31; .32 / .31"),
        trained(
            ("weakly periodic", "attention"),
            "weakly-periodic",
            "weakly-periodic",
            &[],
            "GP -.32; -.51 / -.52",
        ),
        trained(
            ("sawtooth", "attention"),
            "sawtooth",
            "sawtooth",
            &[],
            "3.39 / 3.39 (2.13 / 2.13)",
        ),
        trained(("mixture", "attention"), "mixture", "mixture", &[], ".41 / .39"),
    ],
    metrics: &[
        ("interpolation_gp_loglik_nats_per_point", "GP, interpolation"),
        ("interpolation_loglik_nats_per_point", "interpolation"),
        ("interpolation_loglik_gap_nats_per_point", "missed of the GP"),
        ("generalisation_loglik_nats_per_point", "generalisation"),
        ("generalisation_loglik_gap_nats_per_point", "missed of the GP (generalisation)"),
    ],
    published: "published, interpolation / generalisation",
    curve: ("interpolation_loglik_nats_per_point", "log-likelihood (nats a point)"),
    log: false,
    pictures: &[("", "curves")],
    curve_seeds: u32::MAX,
    minutes: [(20, 0); 2],
};

/// Three times as long.
const LONG: &[&str] =
    &["train.steps=6000", "train.checkpoint.every=2000", "train.validate_every=2000"];
/// Trained on a fixed set of fields, of which each batch sees other points.
const FIELDS_64: &[&str] = &["dataset.fields=64"];
const FIELDS_4: &[&str] = &["dataset.fields=4"];

/// Trained on 25 or all 648 points, and asked for all of the others, as published.
const POINTS_648: &[&str] = &[
    "train.checkpoint.every=1000",
    "train.validate_every=1000",
    "dataset.counts={\"type\":\"choices\",\"of\":[25,648]}",
    "dataset.task={\"context\":{\"min\":25,\"max\":25},\"targets\":623}",
];

/// Published: the table of the released notebook (geomndp.md 2.2), nats a target vector.
pub(super) const GP2D: Timed = Timed {
    name: "gp2d",
    configs: "gp-fields",
    variants: &[
        trained(("squared exponential", "E(2)"), "fields-se", "fields-se", &[], "GP .56; .56"),
        trained(("squared exponential", "E(2), longer"), "fields-se-long", "fields-se", LONG, "-"),
        trained(
            ("squared exponential", "attention"),
            "fields-se-plain",
            "fields-se-plain",
            &[],
            "GP .56; .55",
        ),
        trained(
            ("without curl", "E(2)"),
            "fields-curl-free",
            "fields-curl-free",
            &[],
            "GP .66; .65",
        ),
        trained(
            ("without curl", "E(2), longer"),
            "fields-curl-free-long",
            "fields-curl-free",
            LONG,
            "-",
        ),
        trained(
            ("without curl", "attention"),
            "fields-curl-free-plain",
            "fields-curl-free-plain",
            &[],
            "GP .66; .62",
        ),
        trained(
            ("without divergence", "E(2)"),
            "fields-divergence-free",
            "fields-divergence-free",
            &[],
            "GP .66; .66",
        ),
        trained(
            ("without divergence", "E(2), longer"),
            "fields-divergence-free-long",
            "fields-divergence-free",
            LONG,
            "-",
        ),
        trained(
            ("without divergence", "attention"),
            "fields-divergence-free-plain",
            "fields-divergence-free-plain",
            &[],
            "GP .66; .62",
        ),
        trained(
            ("648 points", "E(2)"),
            "648-points",
            "fields-divergence-free",
            POINTS_648,
            "GP .66; .66",
        ),
        trained(("64 fields", "E(2)"), "64-fields", "fields-divergence-free", FIELDS_64, "-"),
        trained(
            ("64 fields", "attention"),
            "64-fields-plain",
            "fields-divergence-free-plain",
            FIELDS_64,
            "-",
        ),
        trained(("4 fields", "E(2)"), "4-fields", "fields-divergence-free", FIELDS_4, "-"),
        trained(
            ("4 fields", "attention"),
            "4-fields-plain",
            "fields-divergence-free-plain",
            FIELDS_4,
            "-",
        ),
    ],
    metrics: &[
        ("gp_loglik_nats_per_point", "GP"),
        ("loglik_nats_per_point", "model"),
        ("loglik_gap_nats_per_point", "missed of the GP"),
    ],
    published: "published",
    curve: ("loglik_gap_nats_per_point", "missed of the GP (nats a point)"),
    log: false,
    pictures: &[
        ("squared exponential", "se"),
        ("without curl", "curl-free"),
        ("without divergence", "divergence-free"),
    ],
    curve_seeds: u32::MAX,
    minutes: [(10, 0); 2],
};

const TEN: &[&str] =
    &["train.steps=1200", "train.checkpoint.every=400", "train.validate_every=400"];
/// Features of 16 bits.
const HALF: &[&str] = &[
    "train.steps=1200",
    "train.checkpoint.every=400",
    "train.validate_every=400",
    "model.precision=\"bf16\"",
];
/// The regulariser evaluates the network once more a step: as long a training is one of fewer steps.
const REGULARISED: &[&str] =
    &["train.steps=900", "train.checkpoint.every=300", "train.validate_every=300"];
const FIVE: &[&str] = &[
    "train.steps=1200",
    "train.checkpoint.every=400",
    "train.validate_every=400",
    "dataset.count=3000",
];
const ONE: &[&str] = &[
    "train.steps=1200",
    "train.checkpoint.every=400",
    "train.validate_every=400",
    "dataset.count=600",
];

/// Published: Frechet distances in the launch scripts of the released code (spdm.md 2.5), in Inception features.
pub(super) const IMAGES: Timed = Timed {
    name: "equivariant-images",
    configs: "equivariant-images",
    variants: &[
        trained(("10 %", "plain"), "plain", "turned-mnist-plain", TEN, "-"),
        trained(("10 %", "tied-s"), "tied-s", "turned-mnist-short", TEN, "-"),
        trained(("10 %", "tied-s, bf16"), "tied-s-bf16", "turned-mnist-short", HALF, "-"),
        trained(("10 %", "tied-k"), "tied-k", "turned-mnist-tied-k", TEN, "5.99"),
        trained(("10 %", "lifted"), "lifted", "turned-mnist-lifted", TEN, "-"),
        trained(("10 %", "Reg"), "regularised", "turned-mnist-regularised", REGULARISED, "5.21"),
        drawn(("10 %", "FA"), "averaged", "turned-mnist-averaged", "plain"),
        trained(("5 %", "plain"), "plain-5", "turned-mnist-plain", FIVE, "-"),
        trained(("5 %", "lifted"), "lifted-5", "turned-mnist-lifted", FIVE, "tied 9.23, Reg 4.15"),
        trained(("1 %", "plain"), "plain-1", "turned-mnist-plain", ONE, "-"),
        trained(("1 %", "lifted"), "lifted-1", "turned-mnist-lifted", ONE, "tied 8.47, Reg 10.51"),
    ],
    metrics: &[
        ("frechet/frechet_floor", "Frechet / floor"),
        ("frechet_invariance/frechet_floor", "Inv-FID / floor"),
        ("frechet_spread/frechet_floor", "Delta-FID / floor"),
        ("frechet_floor", "floor"),
        ("delta_x0_mean", "Delta x_0, mean"),
        ("delta_x0_max", "max"),
        ("validation_loss", "validation loss"),
    ],
    published: "published FID",
    curve: ("frechet/frechet_floor", "Frechet distance over its floor"),
    log: true,
    pictures: &[("10 %", "10")],
    curve_seeds: 1,
    minutes: [(11, 22), (8, 8)],
};

/// A bridge whose features are regular fields of quarter turns and flips.
const LIFTED_BRIDGE: &[&str] = &[
    "train.steps=1500",
    "train.checkpoint.every=500",
    "train.validate_every=500",
    "model.inner.symmetry_by=\"lifted\"",
    "model.inner.group=\"square\"",
];

/// The training of a bridge.
const BRIDGE: &[&str] =
    &["train.steps=1500", "train.checkpoint.every=500", "train.validate_every=500"];

pub(super) const BRIDGES: Timed = Timed {
    name: "equivariant-bridges",
    configs: "equivariant-bridges",
    variants: &[
        trained(("noise, VP", "plain"), "noise-vp-plain", "denoise-digits-plain", BRIDGE, "-"),
        trained(("noise, VP", "tied-s"), "noise-vp-tied", "denoise-digits", BRIDGE, "-"),
        trained(("noise, VP", "lifted"), "noise-vp-lifted", "denoise-digits", LIFTED_BRIDGE, "-"),
        drawn(
            ("noise, VP", "FA"),
            "noise-vp-averaged",
            "denoise-digits-averaged",
            "noise-vp-plain",
        ),
        trained(("noise, VE", "plain"), "noise-ve-plain", "denoise-digits-ve-plain", BRIDGE, "-"),
        trained(("noise, VE", "tied-s"), "noise-ve-tied", "denoise-digits-ve", BRIDGE, "-"),
        trained(
            ("noise, VE", "lifted"),
            "noise-ve-lifted",
            "denoise-digits-ve",
            LIFTED_BRIDGE,
            "-",
        ),
        drawn(
            ("noise, VE", "FA"),
            "noise-ve-averaged",
            "denoise-digits-ve-averaged",
            "noise-ve-plain",
        ),
        trained(("edges, VE", "plain"), "edges-plain", "edges-digits-plain", BRIDGE, "-"),
        trained(("edges, VE", "tied-s"), "edges-tied", "edges-digits", BRIDGE, "-"),
        trained(("edges, VE", "lifted"), "edges-lifted", "edges-digits", LIFTED_BRIDGE, "-"),
        drawn(("edges, VE", "FA"), "edges-averaged", "edges-digits-averaged", "edges-plain"),
        trained(("stain, VP", "plain"), "stain-plain", "stain-patches-plain", BRIDGE, "-"),
        trained(("stain, VP", "tied-s"), "stain-tied", "stain-patches", BRIDGE, "-"),
        trained(("stain, VP", "lifted"), "stain-lifted", "stain-patches", LIFTED_BRIDGE, "-"),
        drawn(("stain, VP", "FA"), "stain-averaged", "stain-patches-averaged", "stain-plain"),
    ],
    metrics: &[
        ("psnr", "PSNR"),
        ("ssim", "SSIM"),
        ("h_delta_x0_mean", "Delta x_0 H, mean"),
        ("h_delta_x0_max", "max"),
        ("v_delta_x0_mean", "V, mean"),
        ("v_delta_x0_max", "max"),
        ("c4_delta_x0_mean", "C4, mean"),
        ("c4_delta_x0_max", "max"),
        ("d4_delta_x0_mean", "D4, mean"),
        ("d4_delta_x0_max", "max"),
        ("so2_delta_x0_mean", "SO(2), mean"),
        ("so2_action_error_mean", "action"),
        ("se2_delta_x0_mean", "SE(2), mean"),
        ("se2_action_error_mean", "action"),
    ],
    published: "released",
    curve: ("psnr", "PSNR (dB)"),
    log: false,
    pictures: &[
        ("noise, VP", "noise-vp"),
        ("noise, VE", "noise-ve"),
        ("edges, VE", "edges"),
        ("stain, VP", "stain"),
    ],
    curve_seeds: u32::MAX,
    minutes: [(7, 5); 2],
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_variant_has_its_configuration_and_its_own_folder() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for page in [&GP1D, &GP2D, &IMAGES, &BRIDGES] {
            for (k, variant) in page.variants.iter().enumerate() {
                let name = format!("{}.json", variant.config);
                let file = root.join("configs").join(page.configs).join(name);
                assert!(file.is_file(), "{}", file.display());
                let same = page.variants.iter().filter(|v| v.folder == variant.folder);
                assert_eq!(same.count(), 1, "{}", variant.folder);
                // What takes weights follows what makes them.
                let before = &page.variants[..k];
                assert!(variant.weights_of.is_none_or(|of| before.iter().any(|v| v.folder == of)));
            }
            let set = |name: &str| page.variants.iter().any(|variant| variant.set == name);
            assert!(page.pictures.iter().all(|(name, _)| name.is_empty() || set(name)));
        }
    }
}
