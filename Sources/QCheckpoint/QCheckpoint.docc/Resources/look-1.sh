qcodec encode optimizer.safetensors -o optimizer.qckpt --measure-update
