//! Stands in for GitHub's runner program: its contract, without its weight.
