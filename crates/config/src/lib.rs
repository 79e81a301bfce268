//! The configuration file: YAML in, a checked configuration out, errors with line and caret.
