import Synchronization

/// Memory for chunks under way, used again and again: fresh memory costs a page fault for every 4 KiB of it.
///
/// What is free is kept up to a limit, so that a burst of chunks leaves little behind.
final class BufferPool: Sendable {
  /// Free memory that is kept, in bytes.
  private static let kept = 32 << 20

  private struct Free {
    var blocks: [MemoryBlock] = []
    var byteCount = 0
  }

  private let free = Mutex(Free())

  init() {}

  /// Memory of exactly `count` bytes with any contents, which comes back when nothing holds it.
  func buffer(_ count: Int) -> PooledBuffer {
    let block = free.withLock { free -> MemoryBlock? in
      guard let index = free.blocks.lastIndex(where: { $0.byteCount >= count }) else { return nil }
      free.byteCount -= free.blocks[index].byteCount
      return free.blocks.remove(at: index)
    }
    return PooledBuffer(block ?? MemoryBlock(atLeast: count), count: count, pool: self)
  }

  fileprivate func give(_ block: MemoryBlock) {
    free.withLock { free in
      guard free.byteCount + block.byteCount <= Self.kept else { return }
      free.byteCount += block.byteCount
      free.blocks.append(block)
    }
  }
}

/// Memory lent by a pool.
///
/// Safe: written by the one that asked for it, before it is shared; the pool takes it back when nothing holds it.
@safe final class PooledBuffer: @unchecked Sendable {
  private let block: MemoryBlock
  private let pool: BufferPool
  private(set) var count: Int

  fileprivate init(_ block: MemoryBlock, count: Int, pool: BufferPool) {
    self.block = block
    self.pool = pool
    self.count = count
  }

  deinit { pool.give(block) }

  var bytes: UnsafeMutableRawBufferPointer { unsafe UnsafeMutableRawBufferPointer(rebasing: block.bytes[..<count]) }

  var contents: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(bytes) }

  /// Gives up what lies after `count` bytes.
  func shrink(to count: Int) {
    precondition(count <= self.count)
    self.count = count
  }
}

/// Memory from the system, aligned for any kernel.
@safe private final class MemoryBlock: @unchecked Sendable {
  let bytes: UnsafeMutableRawBufferPointer

  var byteCount: Int { unsafe bytes.count }

  /// In steps of 64 KiB, so that blocks fit what is nearly their size.
  init(atLeast count: Int) {
    unsafe bytes = .allocate(byteCount: max(1, (count + 0xFFFF) >> 16) << 16, alignment: 64)
  }

  deinit { unsafe bytes.deallocate() }
}
