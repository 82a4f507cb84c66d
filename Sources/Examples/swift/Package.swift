// swift-tools-version: 6.2
import PackageDescription

// A program outside this repository names its address instead of a path.
let package = Package(
  name: "Train",
  platforms: [.macOS(.v26)],
  dependencies: [.package(name: "qcodec", path: "../../..")],
  targets: [
    .executableTarget(
      name: "Train",
      dependencies: [
        .product(name: "QCodec", package: "qcodec"), .product(name: "QCheckpoint", package: "qcodec"),
        .product(name: "QVerify", package: "qcodec"),
      ])
  ]
)
