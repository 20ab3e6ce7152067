# From which size on work is shared out by OpenMP.
#
# Waking the threads of a parallel region takes 50 to 70 us where they sleep. Work that one thread does in
# less than this is not shared out. Products are: they have threads of their own, see threads/README.md.
#
# A region on one thread still costs 1 us, as libgomp makes a team for it, and small layers take no longer
# than that. So their loops run over a range: one call where there is one thread, and in a region one call
# for each thread's part of the range.
from threads.threads cimport granted

cdef extern from *:
    """
    static double serial_picoseconds = 200e6;
    """
    double serial_picoseconds


cdef inline double set_serial_picoseconds(double picoseconds) noexcept:
    """Share out work from that size on, and return what was set before: tests share out small work too."""
    global serial_picoseconds
    before = serial_picoseconds
    serial_picoseconds = picoseconds
    return before


cdef inline int threads_for(Py_ssize_t bytes, double picoseconds, int num_threads) noexcept nogil:
    """Threads for work on an array of so many bytes, of which one thread does four in so long; a half or a third
    of that for two or three regions. It never changes a result, so it may depend on anything."""
    if num_threads > 1 and bytes * picoseconds >= 4 * serial_picoseconds:
        return granted(num_threads)
    return 1
