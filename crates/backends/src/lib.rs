//! The engines that make instances: Docker, plain processes and noop.
