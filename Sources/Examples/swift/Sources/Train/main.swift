// Trains a small model with Adam, and keeps its state in a checkpoint.
//
//   swift run -c release Train state.qckpt 100      # begins, or goes on where the file stands

import Foundation
import QCodec

func run(_ path: String, steps: Int) throws {
  var model = FileManager.default.fileExists(atPath: path) ? try Model(resuming: path) : Model()
  print("step \(model.step) loss \(model.loss)")
  for _ in 0..<steps { model.train() }
  print("step \(model.step) loss \(model.loss)")
  let written = try model.save(to: path)
  print("saved \(written.sourceBytes) bytes as \(written.fileBytes)")
  let report = try model.verify(path)
  if let violation = report.firstViolation { throw QCodecError(.boundViolated, violation.reason) }
  if let update = report.updateError { print("verified, relative error of the updates \(update.relativeL2Error)") }
}

let arguments = CommandLine.arguments
guard arguments.count == 3, let steps = Int(arguments[2]), steps >= 0 else {
  FileHandle.standardError.write(Data("usage: Train FILE STEPS\n".utf8))
  exit(2)
}
do {
  try run(arguments[1], steps: steps)
} catch {
  FileHandle.standardError.write(Data("Train: \(arguments[1]): \(error)\n".utf8))
  exit(1)
}
