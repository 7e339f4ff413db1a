//! tedge-hsm: takes a blank HSM to a device that connects with the key in it.

fn main() -> std::process::ExitCode {
    tedge_hsm::main()
}
