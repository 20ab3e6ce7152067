/* For headers that are not converted yet; this file goes with the last of them. */
#ifndef DASE_FORMER_NAMES_H
#define DASE_FORMER_NAMES_H

#include "threads.h"

#define dase_share_out share_out
#define dase_scratch_take scratch_take
#define dase_scratch_give scratch_give
#define dase_parts_for(threads, cycles) (threads)
#define dase_barrier Barrier
#define dase_meet barrier_wait
#define dase_team team

#endif
