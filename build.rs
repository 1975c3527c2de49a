//! Turns the built-in catalogues from YAML into JSON.
//!
//! Why: every process reads them at its start, and reading the JSON takes a tenth of the time. YAML
//! stays the source; a test holds what is loaded to it, and checks it as one from a folder is
//! checked.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

const FOLDER: &str = "src/record/catalogue";
const SERVICES: [&str; 2] = ["butler", "butler-sos"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let out = env::var("OUT_DIR")?;
    for service in SERVICES {
        let source = format!("{FOLDER}/{service}.yaml");
        println!("cargo::rerun-if-changed={source}");
        let catalogue: serde_json::Value = serde_saphyr::from_str(&fs::read_to_string(&source)?)
            .map_err(|error| format!("{source}: {error}"))?;
        fs::write(Path::new(&out).join(format!("{service}.json")), catalogue.to_string())?;
    }
    Ok(())
}
