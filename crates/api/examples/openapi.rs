//! Prints the OpenAPI document of every operation: what `openapi/posse.json` holds.

use api::Spec;

macro_rules! print_all {
    ($($operation:path),* $(,)?) => {
        fn specs() -> Vec<Spec> { vec![$(Spec::of::<$operation>()),*] }
    };
}

api::for_each_operation!(print_all);

fn main() {
    print!("{}", api::openapi::text(&specs()));
}
