"""Write the settings that say what becomes of memory that is added later."""

from chmem_py.tally import Tally
from memory_hotplug.layout.settings import Setting
from memory_hotplug.trees.files import Tree


def write_settings(tree: Tree, tally: Tally) -> bool:
    """Write the settings of the selection; whether the blocks may be changed then."""
    for setting in tally.selection.settings:
        error = _write(tree, setting)
        tally.add_setting(setting, error)
        if error and tally.all_or_nothing:
            take_back_settings(tree, tally)
            return False
    return True


def take_back_settings(tree: Tree, tally: Tally) -> None:
    """Bring the settings back that were written."""
    for setting in reversed(tally.settings):
        tally.add_setting_back(setting, _write(tree, setting.back))


def _write(tree: Tree, setting: Setting) -> OSError | None:
    try:
        tree.write(setting.path, setting.word)
    except OSError as error:
        return error
    return None
