//! Small files of every format that data sets read, under the names that their examples have.

use std::path::Path;

/// All files that examples name, below a data folder.
pub fn files(data: &Path) {
    pictures(data);
    for name in ["mnist", "fashion-mnist"] {
        digits(&data.join(name));
    }
    histology(&data.join("histology"));
    tissue(&data.join("lysto"));
    std::fs::create_dir_all(data.join("era5")).unwrap();
    era5(&data.join("era5/a.nc"));
    std::fs::create_dir_all(data.join("winds")).unwrap();
    winds(&data.join("winds/monthly_navy_winds.cdf"));
}

/// A dozen pictures, as somebody tries things out with.
pub fn pictures(data: &Path) {
    for folder in ["my-pictures", "photos", "edges"] {
        std::fs::create_dir_all(data.join(folder)).unwrap();
        for k in 0..12 {
            let picture = image::RgbImage::from_fn(80, 60 + k, |x, y| {
                image::Rgb([x as u8, y as u8, k as u8])
            });
            picture.save(data.join(folder).join(format!("{k}.png"))).unwrap();
        }
    }
}

fn digits(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let file = |sizes: &[u32], data: Vec<u8>| {
        let sizes: Vec<u8> = sizes.iter().flat_map(|size| size.to_be_bytes()).collect();
        [vec![0, 0, 8, (sizes.len() / 4) as u8], sizes, data].concat()
    };
    for (name, count) in [("train", 12_000_u32), ("t10k", 10_000)] {
        let images = file(&[count, 28, 28], vec![7; 784 * count as usize]);
        std::fs::write(folder.join(format!("{name}-images-idx3-ubyte")), images).unwrap();
        let labels = file(&[count], (0..count).map(|k| (k % 10) as u8).collect());
        std::fs::write(folder.join(format!("{name}-labels-idx1-ubyte")), labels).unwrap();
    }
}

/// Pictures in files of the sizes that the data set has, which is all that is looked at before they
/// are read.
fn histology(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    for (name, bytes) in
        [("ihc.png", 477_916), ("histo.jpg", 35_505), ("retina.jpg", 269_564), ("cell.png", 74_183)]
    {
        let path = folder.join(name);
        image::RgbImage::from_pixel(256, 256, image::Rgb([9, 9, 9])).save(&path).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(bytes).unwrap();
    }
}

fn tissue(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let count = 1600_u64;
    let mut file = hdf5_pure::FileBuilder::new();
    let pixels = vec![9_u8; count as usize * 8 * 8 * 3];
    file.create_dataset("x").with_u8_data(&pixels).with_shape(&[count, 8, 8, 3]);
    let organs = ["colon", "prostate", "breast", "colon"].repeat(count as usize / 4);
    file.create_dataset("organ").with_ascii_strings(&organs).unwrap();
    file.write(folder.join("training.h5")).unwrap();
}

/// A classic file of variables over three axes, of waves.
fn netcdf(path: &Path, axes: [(&str, Vec<f64>, &str); 3], variables: &[(&str, &str)]) {
    let mut set = netcdf3::DataSet::new();
    for (name, values, unit) in &axes {
        set.add_fixed_dim(name, values.len()).unwrap();
        set.add_var_f64(name, &[name]).unwrap();
        set.add_var_attr_string(name, "units", unit).unwrap();
    }
    let names = [axes[0].0, axes[1].0, axes[2].0];
    for (name, unit) in variables {
        set.add_var_f32(name, &names).unwrap();
        set.add_var_attr_string(name, "units", unit).unwrap();
    }
    let mut writer = netcdf3::FileWriter::create_new(path).unwrap();
    writer.set_def(&set, netcdf3::Version::Classic, 0).unwrap();
    let mut size = 1;
    for (name, values, _) in &axes {
        writer.write_var_f64(name, values).unwrap();
        size *= values.len();
    }
    for (name, _) in variables {
        let values: Vec<f32> = (0..size).map(|k| (k as f32 * 0.37).sin()).collect();
        writer.write_var_f32(name, &values).unwrap();
    }
    writer.close().unwrap();
}

fn steps(first: f64, step: f64, count: usize) -> Vec<f64> {
    (0..count).map(|k| first + step * k as f64).collect()
}

fn era5(path: &Path) {
    let axes = [
        ("valid_time", steps(0.0, 1.0, 4000), "hours since 2020-01-01"),
        ("latitude", steps(40.0, -0.25, 4), "degrees_north"),
        ("longitude", steps(-96.0, 0.25, 4), "degrees_east"),
    ];
    let variables = [("sp", "Pa"), ("t2m", "K"), ("u10", "m s**-1"), ("v10", "m s**-1")];
    netcdf(path, axes, &variables);
}

fn winds(path: &Path) {
    let axes = [
        ("TIME", steps(0.0, 730.5, 132), "hours since 1982-01-16"),
        ("FNOCY", steps(-90.0, 10.0, 19), "degrees_north"),
        ("FNOCX", steps(20.0, 10.0, 36), "degrees_east"),
    ];
    netcdf(path, axes, &[("UWND", "M/S"), ("VWND", "M/S")]);
}
