/* shoal/shoal.h - all of shoal. */
#ifndef SHOAL_SHOAL_H
#define SHOAL_SHOAL_H
#include <shoal/any.h>
#include <shoal/container.h>
#include <shoal/csp.h>
#include <shoal/error.h>
#include <shoal/inspect.h>
#include <shoal/manager.h>
#include <shoal/memory.h>
#include <shoal/pipe.h>
#include <shoal/pool.h>
#include <shoal/process.h>
#include <shoal/queue.h>
#include <shoal/sync.h>
#include <shoal/version.h>
#include <shoal/wait.h>
#endif
