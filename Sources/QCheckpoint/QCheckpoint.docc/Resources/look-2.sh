qcodec inspect optimizer.qckpt
qcodec inspect optimizer.qckpt --plot
