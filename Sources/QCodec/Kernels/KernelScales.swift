import CQCodecKernels

/// The scale vector of a tensor as kernels want it, made once for all chunks.
struct KernelScales: Sendable {
  private let rows: ScaleRows
  private let vector: [Float]
  private let columns: [Float]
  /// What encoding takes the place of divisions by the columns' scales with; often none.
  private let inverses: [Float]

  /// The scales of a layout with a scale vector; nil under block scaling.
  ///
  /// - Parameter table: the table that is encoded with; nil to decode.
  init?(_ layout: TensorLayout, vector: [Float], table: KernelTable?, level: Int32) {
    guard layout.elementCount > 0, let rows = ScaleField(layout: layout).rows(of: layout) else { return nil }
    self.rows = rows
    self.vector = vector
    let columns = rows.columns(of: vector)
    self.columns = columns
    guard let table, !columns.isEmpty else {
      inverses = []
      return
    }
    inverses = unsafe [Float](unsafeUninitializedCapacity: columns.count) { target, written in
      let has = unsafe qcodec_inverses(level, table.pointer, columns, columns.count, target.baseAddress)
      written = has == 0 ? 0 : columns.count
    }
  }

  /// Calls `body` with the scales of `count` elements, 1 or more, from element `first` of the tensor on.
  func with<Result>(
    from first: UInt64, count: Int, _ body: (UnsafePointer<qcodec_scale_rows>) -> Result
  ) -> Result {
    let own = rows.scales(ofRows: rows.rows(from: first, count: count), vector: vector)
    return unsafe own.withUnsafeBufferPointer { own in
      unsafe columns.withUnsafeBufferPointer { columns in
        unsafe inverses.withUnsafeBufferPointer { inverses in
          var scales = unsafe qcodec_scale_rows(
            length: Int(rows.length), place: Int(first % rows.length), rows: own.isEmpty ? nil : own.baseAddress,
            columns: columns.isEmpty ? nil : columns.baseAddress,
            inverses: inverses.isEmpty ? nil : inverses.baseAddress)
          return unsafe body(&scales)
        }
      }
    }
  }
}
