//! The floor of the benchmark: the least that any plugin does. Reads a configuration, parses it, prints the result.

use std::io::{Read, Write};

fn main() {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).expect("stdin");
    let config: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    writeln!(std::io::stdout(), "{}", config["prevResult"]).expect("stdout");
}
