//! The store on SQLite: one writer, one daemon, every commit synced.
