//! Small sound files of every format that the program reads: what `tests/damaged.rs` damages and the fuzz targets begin with.

mod learned;
mod pixels;
mod volumes;

/// A file, and which reader it is for.
pub struct Seed {
    /// Name of the fuzz target, and of the rule in `tests/damaged.rs`.
    pub target: &'static str,
    /// Name within the target.
    pub name: String,
    pub bytes: Vec<u8>,
}

impl Seed {
    fn new(target: &'static str, name: &str, bytes: Vec<u8>) -> Seed {
        Seed { target, name: name.into(), bytes }
    }
}

/// A file of `tests/golden`.
fn golden(path: &str) -> Vec<u8> {
    std::fs::read(root().join("tests/golden").join(path)).unwrap()
}

fn root() -> &'static std::path::Path {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All of them, each below 32 KB.
pub fn all() -> Vec<Seed> {
    let mut seeds = Vec::new();
    pixels::add(&mut seeds);
    volumes::add(&mut seeds);
    learned::add(&mut seeds);
    for board in ["raspberry-pi-5", "generic-x86-64"] {
        let bytes = std::fs::read(root().join("boards").join(board).with_extension("toml")).unwrap();
        seeds.push(Seed::new("board", board, bytes));
    }
    for (name, text) in [
        ("labels", "image,label,split\na,benign,train\nb,malignant,val\nc,benign,test\n"),
        ("several", "Image,Label\na,mass|calcification\nb,\n"),
        ("several_masks", "image,label,mask\na,mass|calcification,d\nb,\"\",c\n"),
        ("masks", "\u{feff}image,mask\r\n\"a\",b\r\nc,d\r\n"),
    ] {
        seeds.push(Seed::new("csv", name, text.into()));
    }
    for name in ["grey", "rgb-metadata", "rgba", "int16-little", "float32-big", "several"] {
        seeds.push(Seed::new("igtl", name, golden(&format!("igtl/{name}.igtl"))));
    }
    seeds.push(Seed::new("audit", "log", golden("audit/log.jsonl")));
    for (target, file) in [("deploy", "deploy.toml"), ("results", "results.json")] {
        seeds.push(Seed::new(target, file, golden(&format!("profile/{file}"))));
    }
    for file in ["cnn-dynamic.onnx", "cnn-fixed.onnx", "tiny/dynamo-fixed.onnx"] {
        seeds.push(Seed::new("onnx", &file.replace('/', "-"), golden(&format!("onnx/{file}"))));
    }
    seeds.push(Seed::new("onnx_head", "cnn", golden("onnx/cnn-fixed.onnx")));
    seeds
}
