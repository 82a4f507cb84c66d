import QCheckpoint
import QCodec

/// Where a page is written: a file that appears under its name whole or not at all, or a descriptor.
///
/// Made before the figures are collected, so that what cannot be written fails at once.
public final class PageFile {
  private let output: OutputFile

  /// Prepares to replace the file at `path`; throws `io`.
  public init(path: String) throws(QCodecError) { output = try OutputFile(path: path) }

  /// Writes to an open descriptor, which stays open; throws `io`.
  public init(descriptor: Int32) throws(QCodecError) { output = try OutputFile(descriptor: descriptor) }

  /// The file that is written to until all is in place; nil for what is written to directly.
  public var temporaryPath: String? { output.temporaryPath }

  /// Writes the page and puts the file in place; throws `io`, and a previous file stays then.
  public func finish(_ page: ReportPage) throws(QCodecError) {
    try output.write(Array(page.html.utf8))
    try output.commit()
  }
}
