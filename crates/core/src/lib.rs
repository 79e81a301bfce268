//! The model, the planner, its report and the ports: pure, no I/O.
