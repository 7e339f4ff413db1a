//! How large the signer's file is, as `make install` installs it.

use support::program;

use crate::target::Target;

/// Returns bytes.
pub fn run(targets: &mut Vec<Target>) -> anyhow::Result<u64> {
    let size = std::fs::metadata(program("tedge-p11-server"))?.len();
    #[allow(clippy::cast_precision_loss)]
    let megabytes = size as f64 / 1e6;
    println!("\nsize of tedge-p11-server, stripped: {size} bytes  <=2 MB");
    targets.push(Target::at_most(
        "size of tedge-p11-server".to_owned(),
        megabytes,
        2.0,
        "MB",
    ));
    Ok(size)
}
