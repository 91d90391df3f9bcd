/* words.h - the example wordcount, measured: all that is below /usr/include. ms. */
#ifndef SHOAL_BENCH_WORDS_H
#define SHOAL_BENCH_WORDS_H

double words_pool(void); /* by a pool of two workers */
/* by two processes that know nothing of one another, half of the files each */
double words_halves(void);

#endif
