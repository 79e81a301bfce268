//! The loop: observe, plan, commit, execute.
