//! Memory for the buffers of connections, so that what is reserved costs nothing before it is used.
//!
//! Natively an allocator gives large zeroed blocks straight from the system, which backs a page when it is first
//! touched. In WebAssembly the allocator would write the zeros itself, and touch everything. So there the linear memory
//! is grown in large steps past the allocator's back, and blocks are cut from what is fresh. They are powers of two; one
//! that is given back lies in a list of its size and is the next to be used again, since it is resident already.
//!
//! Linear memory ends at 4 GiB. The last part of it is left to the allocator, which could only abort without: a buffer
//! that does not fit below is refused.

#[cfg(not(target_arch = "wasm32"))]
mod blocks {
    /// One buffer.
    #[derive(Debug)]
    pub(crate) struct Block(Option<Vec<u8>>);

    impl Block {
        /// `None` where there is no memory, which natively shows otherwise.
        #[expect(clippy::unnecessary_wraps, reason = "WebAssembly's memory is bounded")]
        pub fn new(len: usize) -> Option<Self> {
            Some(Self(Some(vec![0; len])))
        }

        /// The memory; empty where it was taken before.
        pub fn take(&mut self) -> Vec<u8> {
            self.0.take().unwrap_or_default()
        }
    }
}

#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "smoltcp takes buffers that are not a Vec as slices that live for ever")]
mod blocks {
    use core::arch::wasm32::{memory_grow, memory_size};
    use std::sync::{Mutex, MutexGuard, PoisonError};

    const PAGE: usize = 65_536;
    /// Octets by which the memory grows; each growth costs the browser up to a millisecond.
    const STEP: usize = 32 << 20;
    /// Octets up to which the memory is grown here.
    const LIMIT: usize = (4096 - 256) << 20;
    /// The smallest block, as a power of two: 4 KiB.
    const SMALLEST: u32 = 12;

    static ARENA: Mutex<Arena> = Mutex::new(Arena { fresh: 0, end: 0, free: [const { Vec::new() }; 32] });

    struct Arena {
        /// From here to `end` nothing was handed out.
        fresh: usize,
        end: usize,
        /// Addresses of the blocks that were given back, by the exponent of their size.
        free: [Vec<usize>; 32],
    }

    impl Arena {
        fn allocate(&mut self, exponent: u32) -> Option<usize> {
            if let Some(address) = self.free.get_mut(exponent as usize)?.pop() {
                return Some(address);
            }
            let size = 1_usize.checked_shl(exponent)?;
            if self.end - self.fresh < size {
                self.grow(size)?;
            }
            let address = self.fresh;
            self.fresh += size;
            Some(address)
        }

        fn grow(&mut self, size: usize) -> Option<()> {
            let used = memory_size::<0>() * PAGE;
            // What was left over is used too, where nobody else has grown the memory.
            let missing = if used == self.end { size - (self.end - self.fresh) } else { size };
            let room = LIMIT.checked_sub(used).filter(|room| missing <= *room)?;
            let pages = missing.max(STEP.min(room)).div_ceil(PAGE);
            let start = memory_grow::<0>(pages).checked_mul(PAGE)?;
            if start != self.end {
                self.keep_rest();
                self.fresh = start;
            }
            self.end = start + pages * PAGE;
            Some(())
        }

        /// Cuts what is left of a region that cannot grow into blocks.
        fn keep_rest(&mut self) {
            while let Some(exponent) = (self.end - self.fresh).checked_ilog2().filter(|exponent| *exponent >= SMALLEST)
            {
                self.free[exponent as usize].push(self.fresh);
                self.fresh += 1 << exponent;
            }
        }
    }

    fn arena() -> MutexGuard<'static, Arena> {
        ARENA.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One buffer; given back when it is dropped. Its owner drops what has taken the memory before.
    #[derive(Debug)]
    pub(crate) struct Block {
        memory: Option<&'static mut [u8]>,
        address: usize,
        exponent: u32,
    }

    impl Block {
        /// `None` where the memory cannot grow.
        pub fn new(len: usize) -> Option<Self> {
            let exponent = len.checked_next_power_of_two()?.trailing_zeros().max(SMALLEST);
            let address = arena().allocate(exponent)?;
            // SAFETY: the octets lie in pages that `memory_grow` has given to the arena, which WebAssembly has zeroed and
            // which nobody else uses. The arena hands a block out again only after the drop of its `Block`, and each
            // is owned, with the one socket that has taken the memory, by a structure that drops the socket first.
            let memory =
                unsafe { core::slice::from_raw_parts_mut(core::ptr::with_exposed_provenance_mut::<u8>(address), len) };
            Some(Self { memory: Some(memory), address, exponent })
        }

        /// The memory; empty where it was taken before.
        pub fn take(&mut self) -> &'static mut [u8] {
            self.memory.take().unwrap_or_default()
        }
    }

    impl Drop for Block {
        fn drop(&mut self) {
            if let Some(list) = arena().free.get_mut(self.exponent as usize) {
                list.push(self.address);
            }
        }
    }
}

pub(crate) use blocks::Block;
