//! A stateful GitHub with an HTTP face, for the demo and the tests.
