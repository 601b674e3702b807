/** Video and sound: play, pause, and every ten seconds the progress, each with the time watched since the last report. */

const LONGEST_STEP_MS = 2000; // between two "timeupdate"s of a medium that really plays

/** Reports what becomes of a media element, with `fields`; returns a function that stops it. */
export function observeMedia(settings, { on, guarded }, track, element, fields) {
  let watched_ms = 0;
  let playingSince = 0;

  function tick() {
    const atMs = performance.now();
    if (playingSince) watched_ms += Math.min(atMs - playingSince, LONGEST_STEP_MS);
    playingSince = element.paused || element.seeking ? 0 : atMs;
  }

  function report(name) {
    const { currentTime, duration } = element;
    const known = duration > 0 && isFinite(duration);
    track(name, {
      ...fields,
      watched_ms: Math.round(watched_ms),
      media_s: Math.round(currentTime),
      percent: known ? Math.round((currentTime / duration) * 100) : null,
    });
    watched_ms = 0;
  }

  const handlers = {
    play: () => report("media_play"),
    playing: tick,
    pause: () => (tick(), report("media_pause")),
    seeking: tick,
    waiting: () => (tick(), (playingSince = 0)),
    timeupdate: () => (tick(), watched_ms >= settings.progressMs && report("media_progress")),
  };
  const stops = Object.entries(handlers).map(([name, action]) => {
    const handler = guarded(name, action);
    element.addEventListener(name, handler);
    return () => element.removeEventListener(name, handler);
  });
  stops.push(on("hide", () => (tick(), watched_ms >= 1 && report("media_progress"))));
  return () => stops.forEach((stop) => stop());
}
