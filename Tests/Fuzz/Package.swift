// swift-tools-version: 6.2
import PackageDescription

/// One program that holds every fuzz target; QCODEC_FUZZ_TARGET names the one that runs. README.md tells how it is built:
/// without a fuzzer's main function it does not link.
let package = Package(
  name: "Fuzz",
  platforms: [.macOS(.v26)],
  dependencies: [.package(name: "qcodec", path: "../..")],
  targets: [
    .target(name: "CLibFuzzer"),
    .executableTarget(
      name: "Fuzz",
      dependencies: [
        "CLibFuzzer", .product(name: "QCodec", package: "qcodec"), .product(name: "QCheckpoint", package: "qcodec"),
        .product(name: "QVerify", package: "qcodec"), .product(name: "QCodecABI", package: "qcodec"),
        .product(name: "QPolicyText", package: "qcodec"), .product(name: "QOptimizers", package: "qcodec"),
      ],
      swiftSettings: [
        .swiftLanguageMode(.v6), .enableUpcomingFeature("ExistentialAny"),
        // The fuzzer has a main function of its own.
        .unsafeFlags(["-parse-as-library"]),
      ]),
  ]
)
