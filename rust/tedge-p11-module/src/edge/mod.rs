//! The C edge, and all of the crate's unsafe code: what a program passes becomes values (`memory`), the
//! functions (`functions`) hand them to the library and write down what it returns, `table` is what a
//! program finds.
//!
//! What a PKCS#11 program promises, and each unsafe block counts on: a pointer that is not NULL is valid
//! for as many elements as the length beside it says, for reading or for writing as the standard has it,
//! until the function returns.

#![allow(unsafe_code)]
#![allow(non_snake_case)]

mod environment;
mod functions;
mod memory;
mod standard_error;
mod table;
mod version;

pub use table::{C_GetFunctionList, C_GetInterface, C_GetInterfaceList, TEDGE_P11_MODULE};
