/// The version of the library, as `qcodec --version` and the package for Python say it.
let qcodecVersion = "0.1.0"
