//! What a child says to the proxy: no bytes make a parser panic, and a request that is whole stays the same with more behind it.
//! `cargo fuzz run proxy`
#![no_main]

use libfuzzer_sys::fuzz_target;
use treehand::confine::proxy::request::{Parsed, Wanted, http, socks_greeting, socks_request};

fn check(parse: impl Fn(&[u8]) -> Parsed<Wanted>, bytes: &[u8]) {
    if let Parsed::Whole(wanted, length) = parse(bytes) {
        assert!(length <= bytes.len());
        assert!((1..=253).contains(&wanted.host.len()));
        assert_eq!(parse(&bytes[..length]), Parsed::Whole(wanted, length), "what comes behind does not matter");
    }
}

fuzz_target!(|bytes: &[u8]| {
    let _greeting = socks_greeting(bytes);
    check(http, bytes);
    check(socks_request, bytes);
});
