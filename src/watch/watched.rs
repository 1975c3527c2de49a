//! The keys under which the detect stage keeps what is watched.

/// One thing that is watched: a set of files that are read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Watched {
    /// The config files of the instance at this index.
    Instance(usize),
    /// The settings and the files that they name.
    Settings,
}
