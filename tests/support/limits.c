/* To be preloaded: every ALSA device has the rate ONLY_RATE (Hz) alone, and ONLY_CHANNELS channels, where these are set.

   Whoever opens a device asks first what it can do; the answer becomes less. PortAudio loads libasound by itself, out of
   reach of RTLD_NEXT. */

#include <dlfcn.h>
#include <stdlib.h>

static void *real(const char *name)
{
    return dlsym(dlopen("libasound.so.2", RTLD_NOW), name);
}

int snd_pcm_hw_params_any(void *pcm, void *params)
{
    int (*any)(void *, void *) = real("snd_pcm_hw_params_any");
    int (*set_rate)(void *, void *, unsigned, int) = real("snd_pcm_hw_params_set_rate");
    int (*set_channels)(void *, void *, unsigned) = real("snd_pcm_hw_params_set_channels");
    const char *rate = getenv("ONLY_RATE"), *channels = getenv("ONLY_CHANNELS");
    int result = any(pcm, params);
    if (result >= 0 && rate)
        result = set_rate(pcm, params, atoi(rate), 0);
    if (result >= 0 && channels)
        result = set_channels(pcm, params, atoi(channels));
    return result;
}
