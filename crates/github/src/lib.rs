//! The client of GitHub: REST, App sign-in and runner scale sets, over the Transport port.
