#pragma once

/* Becomes runc with the same arguments. Returns only when there is none to be found, with errno. */
void runc_exec(char **argv);
