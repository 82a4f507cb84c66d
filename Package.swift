// swift-tools-version: 6.2
import PackageDescription

/// Every Swift target is compiled in Swift 6 mode with strict memory safety: each unsafe expression is marked.
let strict: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .strictMemorySafety(),
  .enableUpcomingFeature("ExistentialAny"),
]

/// A C library that the system provides; `apt` names the Debian package that carries its header.
func system(_ name: String, pkgConfig: String, apt: String, brew: String) -> Target {
  .systemLibrary(name: name, pkgConfig: pkgConfig, providers: [.apt([apt]), .brew([brew])])
}

/// Targets name every module that they import, not only the last: a module that is reached through another alone is not
/// looked at when it changes, and what was built before would go on with its old layout.
let package = Package(
  name: "qcodec",
  platforms: [.macOS(.v26)],
  products: [
    .library(name: "QCodec", targets: ["QCodec"]),
    .library(name: "QCheckpoint", targets: ["QCheckpoint"]),
    .library(name: "QVerify", targets: ["QVerify"]),
    .library(name: "QPlanner", targets: ["QPlanner"]),
    .library(name: "QReport", targets: ["QReport"]),
    .library(name: "QOptimizers", targets: ["QOptimizers"]),
    .library(name: "QPolicyText", targets: ["QPolicyText"]),
    .library(name: "cqcodec", type: .dynamic, targets: ["QCodecABI"]),
    .library(name: "QCodecABI", targets: ["CQCodec", "QCodecABI"]),
    .executable(name: "qcodec", targets: ["QCodecCLI"]),
    .executable(name: "qcodec-corpus", targets: ["QCodecCorpus"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
  ],
  targets: [
    system("CLZ4", pkgConfig: "liblz4", apt: "liblz4-dev", brew: "lz4"),
    system("CXXHash", pkgConfig: "libxxhash", apt: "libxxhash-dev", brew: "xxhash"),
    system("CZstd", pkgConfig: "libzstd", apt: "libzstd-dev", brew: "zstd"),
    system("CZlib", pkgConfig: "zlib", apt: "zlib1g-dev", brew: "zlib"),
    .target(name: "CQCodecKernels"),
    .target(name: "QCodec", dependencies: ["CQCodecKernels", "CXXHash"], swiftSettings: strict),
    .target(
      name: "QCheckpoint", dependencies: ["QCodec", "CQCodecKernels", "CLZ4", "CXXHash", "CZstd", "CZlib"],
      swiftSettings: strict),
    .target(
      name: "QOptimizers", dependencies: ["QCodec", "QCheckpoint", "CQCodecKernels"], swiftSettings: strict),
    .target(name: "QPlanner", dependencies: ["QCheckpoint", "QCodec"], swiftSettings: strict),
    .target(name: "QVerify", dependencies: ["QCheckpoint", "QCodec"], swiftSettings: strict),
    .target(name: "QReport", dependencies: ["QVerify", "QCheckpoint", "QCodec"], swiftSettings: strict),
    .target(name: "CQCodec", exclude: ["exports.map", "qcodec.pc.in"]),
    .target(
      name: "QCodecABI", dependencies: ["CQCodec", "QCodec", "QCheckpoint", "QVerify", "QOptimizers"],
      swiftSettings: strict),
    // Apart from QCheckpoint, so that libraries do without a reader of YAML.
    .target(
      name: "QPolicyText", dependencies: ["QCodec", "QCheckpoint", .product(name: "Yams", package: "Yams")],
      swiftSettings: strict),
    .executableTarget(
      name: "QCodecCLI",
      dependencies: [
        "QCodec", "QCheckpoint", "QVerify", "QPlanner", "QReport", "QPolicyText",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ], swiftSettings: strict),
    .target(name: "CCampaign"),
    .executableTarget(
      name: "QCodecCorpus",
      dependencies: [
        "CCampaign", "QCodec", "QCheckpoint", "QVerify",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ], swiftSettings: strict),
    .target(name: "TestSupport", path: "Tests/TestSupport", swiftSettings: strict),
    .testTarget(
      name: "QCodecTests", dependencies: ["QCodec", "CQCodecKernels", "TestSupport"], swiftSettings: strict),
    .testTarget(
      name: "QCheckpointTests", dependencies: ["QCodec", "QCheckpoint", "CQCodecKernels", "TestSupport"],
      swiftSettings: strict),
    .testTarget(
      name: "QOptimizersTests", dependencies: ["QCodec", "QCheckpoint", "QOptimizers", "TestSupport"],
      swiftSettings: strict),
    .testTarget(
      name: "QVerifyTests", dependencies: ["QCodec", "QCheckpoint", "QVerify", "TestSupport"], swiftSettings: strict),
    .testTarget(
      name: "QPlannerTests", dependencies: ["QCodec", "QCheckpoint", "QPlanner", "TestSupport"], swiftSettings: strict),
    .testTarget(
      name: "QReportTests", dependencies: ["QCodec", "QCheckpoint", "QVerify", "QReport", "TestSupport"],
      swiftSettings: strict),
    .testTarget(
      name: "ConformanceTests", dependencies: ["QCodec", "QCheckpoint", "QVerify", "TestSupport"], swiftSettings: strict
    ),
    .testTarget(name: "CLITests", dependencies: ["QCodec", "QCheckpoint", "QVerify"], swiftSettings: strict),
  ]
)
