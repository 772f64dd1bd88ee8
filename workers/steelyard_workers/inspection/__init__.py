"""What is inside a weight file, read without loading the file and without running anything in it.

report = inspect_file(Path("model.safetensors"))

files        a file, from its first bytes to its report
contents     what a format's reader finds: tensors, where their bytes lie, what is wrong
sniffing     what a file is, by its content
…_files      one reader for each format; `pickles` follows a pickle's instructions without obeying them
dtypes       bytes as numbers; statistics: one tensor, block by block
job          the job of the kind `inspect`
"""
