// The register: every operation of the platform, by family. One line makes an operation exist; it does not compile
// until `control` has a handler for it.

/// Calls `$register!` with the list of all operation types.
#[macro_export]
macro_rules! for_each_operation {
    ($register:ident) => {
        $register! {
        }
    };
}
