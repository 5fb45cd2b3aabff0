"""Compiles every .cu file below FOLDER/sm_80 and FOLDER/sm_90 with NVRTC. No card is needed.

usage: python3 nvrtc.py FOLDER
needs: pip install nvidia-cuda-nvrtc-cu12==12.9.86 nvidia-cuda-runtime-cu12==12.9.79 nvidia-cuda-nvcc-cu12==12.9.86
       nvidia-cuda-cccl-cu12==12.9.27
exit:  0 all compile and products of bf16 use tensor cores, 1 one does not, 3 the packages are not there
"""

import ctypes
import pathlib
import sys
import time
from importlib import util


def nvidia(part):
    """Folder of an installed package `nvidia.part`, or None."""
    found = util.find_spec("nvidia") and util.find_spec(f"nvidia.{part}")
    return pathlib.Path(next(iter(found.submodule_search_locations))) if found else None


class Compiler:
    def __init__(self):
        parts = {part: nvidia(part) for part in ("cuda_nvrtc", "cuda_runtime", "cuda_nvcc", "cuda_cccl")}
        missing = [part for part, folder in parts.items() if folder is None]
        if missing:
            print("missing Python packages: " + ", ".join(f"nvidia.{part}" for part in missing))
            sys.exit(3)
        self.library = ctypes.CDLL(str(parts["cuda_nvrtc"] / "lib" / "libnvrtc.so.12"))
        self.include = [f"--include-path={parts[p] / 'include'}" for p in ("cuda_runtime", "cuda_nvcc", "cuda_cccl")]

    def text(self, program, what):
        """A text that NVRTC has for a program: its Log or its PTX."""
        size = ctypes.c_size_t()
        getattr(self.library, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        getattr(self.library, f"nvrtcGet{what}")(program, buffer)
        return buffer.value.decode()

    def compile(self, source, architecture):
        """(True, PTX) or (False, what NVRTC said)."""
        program = ctypes.c_void_p()
        made = self.library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None)
        assert made == 0, made
        options = [f"--gpu-architecture={architecture}", *self.include]
        given = (ctypes.c_char_p * len(options))(*(o.encode() for o in options))
        code = self.library.nvrtcCompileProgram(program, len(options), given)
        out = self.text(program, "PTX") if code == 0 else self.text(program, "ProgramLog")
        self.library.nvrtcDestroyProgram(ctypes.byref(program))
        return code == 0, out


def check(folder, architecture, compiler):
    """Number of sources that do not compile; at least one if no product of bf16 reaches the tensor cores."""
    sources = sorted(folder.glob("*.cu"))
    bad, tensor_cores, started = 0, 0, time.time()
    for path in sources:
        source = path.read_text()
        compiled, out = compiler.compile(source, architecture)
        if not compiled:
            bad += 1
            print(f"FAIL {path.name} {source.splitlines()[0]}\n{out[:1500]}")
        elif "mma.sync" in out and ".bf16.bf16" in out:
            tensor_cores += 1
    print(f"{architecture}: {len(sources)} kernels, {bad} do not compile, {tensor_cores} multiply bf16 on tensor cores, "
          f"{time.time() - started:.0f} s")
    return bad + (tensor_cores == 0)


def main():
    folder, compiler = pathlib.Path(sys.argv[1]), Compiler()
    bad = sum(check(folder / name, name, compiler) for name in ("sm_80", "sm_90"))
    sys.exit(1 if bad else 0)


main()
