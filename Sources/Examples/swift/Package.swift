// swift-tools-version: 6.2
import PackageDescription

let products: [Target.Dependency] = ["QCodec", "QCheckpoint", "QVerify"].map { .product(name: $0, package: "qcodec") }

// A program outside this repository names its address instead of a path.
let package = Package(
  name: "Train",
  platforms: [.macOS(.v26)],
  dependencies: [.package(name: "qcodec", path: "../../..")],
  targets: [.executableTarget(name: "Train", dependencies: products)]
    // The steps of the documentation's tutorial.
    + (1...4).map { .executableTarget(name: "Tutorial\($0)", dependencies: products) }
)
