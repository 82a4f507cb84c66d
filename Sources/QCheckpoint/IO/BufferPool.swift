import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Memory for chunks under way, used again and again: fresh memory costs a page fault for every 4 KiB of it.
///
/// What is free is kept up to a limit, so that a burst of chunks leaves little behind. No thread ever waits for the pool: one
/// that held it when the process forked is not there in the child, where memory is then taken from the system.
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
    var found: MemoryBlock?
    withFree { free in
      guard let index = free.blocks.lastIndex(where: { $0.byteCount >= count }) else { return }
      free.byteCount -= free.blocks[index].byteCount
      found = free.blocks.remove(at: index)
    }
    return PooledBuffer(found ?? MemoryBlock(atLeast: count), count: count, pool: self)
  }

  fileprivate func give(_ block: MemoryBlock) {
    withFree { free in
      guard free.byteCount + block.byteCount <= Self.kept else { return }
      free.byteCount += block.byteCount
      free.blocks.append(block)
    }
  }

  /// Calls `body` with what is free, unless someone holds it for longer than its few instructions take.
  private func withFree(_ body: (inout Free) -> Void) {
    for _ in 0..<64 {
      if free.withLockIfAvailable({ body(&$0) }) != nil { return }
      sched_yield()
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
